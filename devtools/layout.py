"""Place a graph's nodes: groups in rows like words, and in a group columns by dependency, without overlap."""

from dataclasses import dataclass

GAP_X, GAP_Y = 90, 70  # wide enough for the renderer that draws nodes larger
PAD, HEAD = 30, 60
LEAST_WIDTH = 1600  # of a row that is broken
SHAPE = 1.7  # width over height that fits a screen


@dataclass(frozen=True)
class Box:
    """A node's (width, height) and the group it belongs to."""

    size: tuple[int, int]
    group: str


def arrange(boxes: dict[str, Box], edges: list[tuple[str, str]], groups: list[str]):
    """Positions of nodes, id -> (x, y), and frames of groups, title -> (x, y, width, height).

    Groups go from left to right, and on in the next row where one would be far too wide; in a group a node
    stands right of those of the group that feed it.
    """
    inside = {title: _columns(title, boxes, edges) for title in groups}
    sizes = {title: size for title, (places, size) in inside.items() if places}
    corners = _rows(sizes)
    places = {
        node: (corners[title][0] + x, corners[title][1] + y)
        for title in sizes
        for node, (x, y) in inside[title][0].items()
    }
    return places, {title: (*corners[title], *size) for title, size in sizes.items()}


def _columns(title: str, boxes: dict[str, Box], edges: list[tuple[str, str]]):
    """Places of a group's nodes within it, and its (width, height)."""
    members = [node for node, box in boxes.items() if box.group == title]
    depth = {node: _depth(node, members, edges) for node in members}
    places, x, bottom = {}, PAD, 0
    for column in range(max(depth.values(), default=-1) + 1):
        y, width = HEAD, 0
        for node in (n for n in members if depth[n] == column):
            places[node] = (x, y)
            y += boxes[node].size[1] + GAP_Y
            width = max(width, boxes[node].size[0])
        x, bottom = x + width + GAP_X, max(bottom, y - GAP_Y)
    return places, (x - GAP_X + PAD, bottom + PAD)


def _rows(sizes: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Corners of the groups, in the rows whose whole comes nearest to SHAPE."""
    widths = [width + GAP_X for width, _ in sizes.values()]
    limits = {sum(widths[:count]) for count in range(1, len(widths) + 1)}
    wide = [limit for limit in limits if limit >= LEAST_WIDTH] or [max(limits)]
    return min((_wrapped(sizes, limit) for limit in sorted(wide)), key=lambda found: found[1])[0]


def _wrapped(sizes: dict[str, tuple[int, int]], limit: int):
    """Corners of groups in rows of at most this width, and how far the whole is from SHAPE, as a factor."""
    corners, x, y, high, right = {}, 0, 0, 0, 0
    for title, (width, height) in sizes.items():
        if x and x + width > limit:
            x, y, high = 0, y + high + GAP_Y, 0
        corners[title] = (x, y)
        x, high, right = x + width + GAP_X, max(high, height), max(right, x + width)
    shape = right / (y + high) / SHAPE
    return corners, max(shape, 1 / shape)


def _depth(node: str, members: list[str], edges: list[tuple[str, str]]) -> int:
    feeding = [source for source, target in edges if target == node and source in members]
    return 1 + max((_depth(source, members, edges) for source in feeding), default=-1)
