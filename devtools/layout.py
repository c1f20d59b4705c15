"""Place a graph's nodes: groups side by side, and in a group columns by dependency, without overlap."""

from dataclasses import dataclass

GAP_X, GAP_Y = 90, 70  # wide enough for the renderer that draws nodes larger
PAD, HEAD = 30, 60


@dataclass(frozen=True)
class Box:
    """A node's (width, height) and the group it belongs to."""

    size: tuple[int, int]
    group: str


def arrange(boxes: dict[str, Box], edges: list[tuple[str, str]], groups: list[str]):
    """Positions of nodes, id -> (x, y), and frames of groups, title -> (x, y, width, height).

    Groups go from left to right; in a group a node stands right of those of the group that feed it.
    """
    places, frames, left = {}, {}, 0
    for title in groups:
        members = [node for node, box in boxes.items() if box.group == title]
        if not members:
            continue
        depth = {node: _depth(node, members, edges) for node in members}
        x, bottom = left + PAD, 0
        for column in range(max(depth.values()) + 1):
            y, width = HEAD, 0
            for node in (n for n in members if depth[n] == column):
                places[node] = (x, y)
                y += boxes[node].size[1] + GAP_Y
                width = max(width, boxes[node].size[0])
            x, bottom = x + width + GAP_X, max(bottom, y - GAP_Y)
        frames[title] = (left, 0, x - GAP_X + PAD - left, bottom + PAD)
        left = x - GAP_X + PAD + GAP_X
    return places, frames


def _depth(node: str, members: list[str], edges: list[tuple[str, str]]) -> int:
    feeding = [source for source, target in edges if target == node and source in members]
    return 1 + max((_depth(source, members, edges) for source in feeding), default=-1)
