"""A real Chromium, and a real ComfyUI for each editor version; both are started once."""

import os
import sys
from pathlib import Path

import pytest
from choreographer.devtools.browser import APT, chromium, newer_frontend
from choreographer.devtools.host import Host
from choreographer.devtools.links import link_pack, write_model_paths
from choreographer.devtools.setup import FETCHED, Environment
from choreographer.tests.web.examples import add_inputs, add_placeholders
from choreographer.tests.web.page import SITE, EditorPage

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
FRONTENDS = ("shipped", "newer")  # the editor that comes with the host, and a later one
RENDERERS = ("litegraph", "vue")


@pytest.fixture(scope="session")
def browser():
    """The installed Chromium, without a window."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip(f"there is no Chromium; install it with: sudo {' '.join(APT)}")
    with driver.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def blank(browser):
    """An empty page that can import the pack's scripts from SITE, without a host."""
    page = browser.new_page()

    def serve(route):
        path = ROOT / "web" / route.request.url.removeprefix(SITE + "/")
        if path.is_file():
            route.fulfill(path=path, content_type="text/javascript")
        else:
            route.fulfill(body="<title>blank</title>", content_type="text/html")

    page.route("**/*", serve)
    page.goto(SITE)
    yield page
    page.close()


@pytest.fixture(scope="session")
def module(blank):
    """What a module of the page exports, called when it is a function: module(path, name, *arguments)."""
    call = """async ([path, name, args]) => {
        const found = (await import(path))[name];
        return typeof found === "function" ? found(...args) : found;
    }"""
    return lambda path, name, *arguments: blank.evaluate(call, [f"{SITE}/js/{path}", name, arguments])


class EditorHost(Host):
    """A server that serves the editor from another folder than its own."""

    def __init__(self, *arguments, root: Path | None):
        super().__init__(*arguments)
        self.root = root

    def command(self):
        return super().command() + (["--front-end-root", str(self.root)] if self.root else [])


@pytest.fixture(scope="session")
def hosts(comfy_path, tmp_path_factory):
    """The server for a frontend of FRONTENDS, started when it is first asked for."""
    pack = link_pack(ROOT, comfy_path / "custom_nodes")
    paths = write_model_paths(ROOT / "demo", tmp_path_factory.mktemp("paths") / "models.yaml", FETCHED)
    here = {path.name for root in (ROOT / "demo", FETCHED) for path in root.glob("*/*.safetensors")}
    add_placeholders(tmp_path_factory.mktemp("placeholders"), paths, here)
    environment = Environment(Path(sys.executable), comfy_path, pack, paths)
    running = {}

    def host(frontend: str) -> Host:
        if frontend not in running:
            root = newer_frontend() if frontend == "newer" else None
            if root is not None and not root.is_dir():
                pytest.skip("the newer editor is not there; `python dev.py test` fetches it")
            folder = tmp_path_factory.mktemp(frontend)
            add_inputs(folder / "input")
            running[frontend] = EditorHost(environment, folder, root=root).__enter__()
        return running[frontend]

    yield host
    for each in running.values():
        each.stop()


@pytest.fixture(scope="session")
def pages(browser, hosts):
    """The open page of a frontend, made once; a renderer and an empty graph each time it is asked for."""
    made = {}

    def page(frontend: str, renderer: str) -> EditorPage:
        if frontend not in made:
            made[frontend] = EditorPage(browser, hosts(frontend), frontend)
        made[frontend].begin(renderer)
        return made[frontend]

    return page


@pytest.fixture(params=[f"{f}-{r}" for f in FRONTENDS for r in RENDERERS])
def every_page(request, pages):
    """A page of each frontend in each renderer."""
    return pages(*request.param.split("-"))


@pytest.fixture(params=["shipped-litegraph", "newer-vue"])
def page(request, pages):
    """A page of the older and of the newer way to draw nodes."""
    return pages(*request.param.split("-"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The folder for screenshots: that named in CHOREO_PICTURES, to look at them, or a temporary one."""
    folder = os.environ.get("CHOREO_PICTURES")
    return Path(folder) if folder else tmp_path_factory.mktemp("pictures")
