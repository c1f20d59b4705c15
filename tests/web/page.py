"""The editor's page as tests use it: an empty graph, nodes at a zoom, pointers over a stage, runs."""

import json
import time
import urllib.request

from choreographer.devtools.host import OPENER

SITE = "http://pack.test"  # of an empty page without a server: the pack's files are handed to it
NOISE = (
    "user.css",
    "/userdata",  # nothing is saved yet
    "Content Security Policy",  # the editor asks outside
    "reading 'id'",  # the older editor, before it knows its workflow
    "/templates/index",  # lists that a younger host has
    "/api/jobs",  # younger than the host
    "JobsApiError",
)
READY = "Boolean(window.app?.extensionManager && window.LiteGraph?.registered_node_types?.ChoreoTrajectories)"
START = 120_000  # milliseconds that a page may take to open on a busy machine
ADD = """async ([type, place, size, values]) => {
    const node = LiteGraph.createNode(type);
    node.pos = place;
    app.graph.add(node);
    if (size) node.setSize(size);
    for (const [name, value] of Object.entries(values)) {
        node.widgets.find((widget) => widget.name === name).value = value;
    }
    return String(node.id);
}"""
VALUE = "([id, name]) => app.graph.getNodeById(id).widgets.find((widget) => widget.name === name).value"
BOUNDS = """() => {
    const shown = ({ id, size }) => {
        const box = document.querySelector(`[data-node-id="${id}"]`)?.getBoundingClientRect();
        const { scale } = app.canvas.ds;
        return box ? [box.width / scale, box.height / scale] : [size[0], size[1] + 30];
    };
    const boxes = [...app.graph.nodes.map((node) => [node.pos[0], node.pos[1] - 30, ...shown(node)]),
        ...app.graph.groups.map(({ pos, size }) => [...pos, ...size])];
    const [left, top] = [0, 1].map((a) => Math.min(...boxes.map((box) => box[a])) - 20);
    const [right, bottom] = [0, 1].map((a) => Math.max(...boxes.map((box) => box[a] + box[a + 2])) + 20);
    return [left, top, right - left, bottom - top];
}"""
EMPTY = {"last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "config": {}}
EMPTY |= {"extra": {}, "version": 0.4}
LOAD = """async (workflow) => {
    const tabs = app.extensionManager.workflow;
    const before = tabs.activeWorkflow;
    await app.loadGraphData(workflow);
    // each open tab makes the page slower
    if (before && before !== tabs.activeWorkflow) await tabs.closeWorkflow(before);
}"""
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class EditorPage:
    """A page of the editor in Chromium, on a running host."""

    def __init__(self, browser, host, frontend="shipped", blocked=None):
        """Open it and wait until it can be used. blocked: the end of an address that is not served."""
        self.host, self.frontend, self.blocked, self.errors = host, frontend, blocked, []
        self.context = browser.new_context(viewport={"width": 1500, "height": 1000}, has_touch=True)
        self.context.route("**/*", self.only_local)
        self.context.add_init_script("localStorage.vueNodesBannerDismissed = 'true'")
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open()
        self.run("async () => app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")

    def only_local(self, route):
        """Nothing leaves this machine."""
        address = route.request.url
        if address.startswith((self.host.url, "blob:", "data:")) and not self.is_blocked(address):
            route.continue_()
        else:
            route.abort()

    def is_blocked(self, address):
        """Whether an address of the host is kept from the page."""
        return self.blocked is not None and address.endswith(self.blocked)

    def heard(self, message):
        """Keep what the console says is wrong."""
        where = (message.location or {}).get("url", "")
        if message.type == "error" and not any(noise in message.text + where for noise in NOISE):
            self.errors.append(f"{message.text} ({where})")

    def open(self):
        """Load the page, as by its reload button."""
        self.page.goto(self.host.url, wait_until="domcontentloaded", timeout=START)
        self.page.wait_for_function(READY, timeout=START)
        self.page.wait_for_selector(".p-blockui-mask", state="hidden", timeout=START)

    def begin(self, renderer):
        """An empty graph in a renderer, "litegraph" or "vue", at zoom 1."""
        self.errors.clear()
        self.run(
            "async (on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", renderer == "vue"
        )
        self.renderer = renderer
        self.page.mouse.move(1200, 900)  # off the tabs and the nodes, which answer to a pointer over them
        self.load(EMPTY)
        self.zoom(1)

    def run(self, code, argument=None):
        """Run a function in the page."""
        return self.page.evaluate(code, argument)

    def load(self, workflow):
        """Load a workflow in place of what is there."""
        self.run(LOAD, workflow)
        self.settle()

    def serialize(self):
        """The graph as it is saved."""
        return self.run("() => JSON.parse(JSON.stringify(app.graph.serialize()))")

    def settle(self):
        """Wait until what changed has been drawn."""
        self.run(FRAMES)

    def until(self, holds, what):
        """Wait until something on the page holds that only Python can tell; else fail and say what."""
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline, what
            self.settle()

    def show_all(self, largest=10):
        """The whole graph between the editor's bars, as large as it fits; its place on the page."""
        left, top, wide, high = 70, 120, 1415, 800
        x, y, width, height = self.run(BOUNDS)
        scale = min(wide / width, high / height, largest)
        self.zoom(scale, (left / scale - x, top / scale - y))
        return {"x": left, "y": top, "width": width * scale, "height": height * scale}

    def picture_of_graph(self, path, largest=10):
        """A screenshot of the whole graph and of nothing else, at a zoom of at most `largest`."""
        clip = self.show_all(largest)
        self.page.wait_for_load_state("networkidle")  # pictures in nodes
        self.page.screenshot(path=path, clip=clip)

    def zoom(self, scale, offset=(0, 0)):
        """Set the graph's zoom, with what is at graph place -offset in the corner of the canvas."""
        self.run(
            "([scale, offset]) => { app.canvas.ds.scale = scale; app.canvas.ds.offset = offset; "
            "app.canvas.setDirty(true, true); }",
            [scale, list(offset)],
        )
        self.settle()

    def add(self, kind, place=(120, 120), size=None, **values):
        """Add a node; its id."""
        node = self.run(ADD, [kind, list(place), size and list(size), values])
        self.settle()
        return node

    def value(self, node, name):
        """The value of a widget."""
        return self.run(VALUE, [node, name])

    def document(self, node):
        """The trajectories of a node."""
        return json.loads(self.value(node, "trajectories"))

    def editor(self, kind="trajectories", number=0):
        """An editor on the page."""
        return self.page.locator(f".choreo-{kind}").nth(number)

    def queue(self):
        """Run the graph as the Run button does; the outputs of its nodes."""
        before = set(self.host.get("/history"))
        self.run("async () => { await app.queuePrompt(0, 1); }")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            new = {key: entry for key, entry in self.host.get("/history").items() if key not in before}
            if new:
                (entry,) = new.values()
                assert entry["status"]["status_str"] == "success", entry["status"]
                return entry["outputs"]
            time.sleep(0.2)
        raise AssertionError("the queued prompt did not end within two minutes")

    def upload(self, name, data):
        """Put an image into the host's input folder, as the page's upload does."""
        boundary = "choreographer"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        body = head.encode() + b"Content-Type: image/png\r\n\r\n" + data + f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        with OPENER.open(urllib.request.Request(f"{self.host.url}/upload/image", body, kind), timeout=30):
            return name


class StageOf:
    """The stage of a trajectory editor: pixels of its frame to places on the screen."""

    def __init__(self, page: EditorPage, editor, size=(512, 512)):
        """size: width and height of the frame."""
        self.page, self.editor, self.size = page, editor, size
        self.pad = editor.locator(".choreo-pad")

    def place(self, x, y):
        """Where a pixel of the frame is on the page, with the editor's own zoom at 1."""
        box = self.pad.bounding_box()
        wide, high = self.pad.evaluate("pad => [pad.clientWidth, pad.clientHeight]")
        margin = 0.09 * min(wide, high)
        fit = min((wide - 2 * margin) / self.size[0], (high - 2 * margin) / self.size[1])
        self.pixel = fit * box["width"] / wide  # pixels of the screen a pixel of the frame
        left, top = (wide - self.size[0] * fit) / 2 + x * fit, (high - self.size[1] * fit) / 2 + y * fit
        return box["x"] + left * box["width"] / wide, box["y"] + top * box["height"] / high

    def click(self, x, y, **options):
        """Click on a pixel of the frame."""
        self.page.page.mouse.click(*self.place(x, y), **options)
        self.page.settle()

    def drag(self, *places, steps=3):
        """Press on the first place, go to the others, let go."""
        mouse = self.page.page.mouse
        mouse.move(*self.place(*places[0]))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.place(*place), steps=steps)
        mouse.up()
        self.page.settle()

    def tool(self, name):
        """Choose a tool by the start of its label."""
        self.editor.locator(f'input[aria-label^="{name}"]').click()
        self.page.settle()

    def press(self, *keys):
        """Press keys on the stage."""
        self.pad.focus()
        for key in keys:
            self.page.page.keyboard.press(key)
        self.page.settle()
