"""A real Chromium at the pages: ten tasks to the end, kills, two tabs, the keyboard, watching."""

from __future__ import annotations

import statistics
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from bcprobe.episodes.record import generate, replay
from bcprobe.tasks import TASKS
from tests.serve.conftest import HOSTILE, Server

#: Makes clicks at screen points one after the other, each once the last was answered.
CLICK = """async (points) => {
  const screen = document.querySelector(".screen");
  const answers = () => performance.getEntriesByName("bcprobe-answer").length;
  for (const [x, y] of points) {
    const box = screen.getBoundingClientRect(), before = answers();
    const clientX = box.left + (x + 0.5) / 480 * box.width;
    const clientY = box.top + (y + 0.5) / 360 * box.height;
    const how = { bubbles: true, cancelable: true, button: 0, clientX, clientY };
    screen.dispatchEvent(new PointerEvent("pointerdown", how));
    while (answers() === before) await new Promise((done) => setTimeout(done, 2));
  }
}"""


def until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait until an expression holds; the page itself may evaluate nothing (its policy)."""
    for _ in range(1200):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it never came: {expression}")


@pytest.fixture
def page(chromium: Any, server: Server) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.foreign, page.errors = [], []
    own = (server.address, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(own) else page.foreign.append(r.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()
    assert not page.foreign
    assert not page.errors


def begin(page: Any, server: Server, task: str, seed: int = 3) -> str:
    """Begin a world over HTTP and open its page; the session's name."""
    made = server.post("/api/annotate", task=task, world_seed=seed)
    page.goto(f"{server.address}/annotate?session={made['id']}")
    page.wait_for_selector(".buttons button")
    return made["id"]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_worked_to_its_end(page: Any, server: Server, task: str) -> None:
    name = begin(page, server, task)
    episode = generate(task, 3)
    page.evaluate(CLICK, [list(step.click) for step in episode.steps])
    page.wait_for_selector(".ending h2 .score")
    assert f"score {episode.outcome.score:.2f}" in page.inner_text(".ending")
    played = server.get(f"/api/episode/0-{name}")
    assert [(row["x"], row["y"]) for row in played["steps"]] == [s.click for s in episode.steps]
    times = page.evaluate("performance.getEntriesByName('bcprobe-answer').map((e) => e.duration)")
    assert len(times) == len(episode)
    assert statistics.median(times) < 2000  # 50 ms on a quiet machine: benchmarks/serve.md


def test_a_world_is_chosen_and_begun_on_a_phone(chromium: Any, server: Server) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, device_scale_factor=3, has_touch=True
    )
    page = context.new_page()
    page.goto(server.address)
    page.get_by_text("Shape matching").click()
    page.get_by_role("button", name="Begin").tap()
    page.wait_for_selector(".screen")
    until(page, "document.querySelector('.screen').clientWidth > 100")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('.screen').clientWidth") == 320  # 2 px each way
    assert page.evaluate("getComputedStyle(document.querySelector('.picture')).imageRendering") == (
        "pixelated"
    )
    name = page.url.partition("session=")[2]
    page.evaluate(CLICK, [[60, 80]])
    view = server.get(f"/api/sessions/{name}")
    assert view["task"] == "shape_matching"
    assert view["count"] == 1
    context.close()


def test_the_screen_in_the_page_is_the_compositors_byte_for_byte(page: Any, server: Server) -> None:
    begin(page, server, "colored_dot_tracking")
    episode = generate("colored_dot_tracking", 3)
    page.evaluate(CLICK, [list(step.click) for step in episode.steps[:4]])
    data = page.evaluate(
        "[...document.querySelector('.picture').getContext('2d').getImageData(0,0,480,360).data]"
    )
    shown = next(s.screen() for n, (s, _) in enumerate(replay(episode)) if n == 4)
    assert bytes(v for i, v in enumerate(data) if i % 4 != 3) == shown.tobytes()


def test_a_killed_server_and_a_killed_browser_lose_no_click(chromium: Any, make_server) -> None:
    server = make_server()
    made = server.post("/api/annotate", task="colored_dot_tracking", world_seed=3)
    address = f"{server.address}/annotate?session={made['id']}"
    steps = [list(step.click) for step in generate("colored_dot_tracking", 3).steps]
    context = chromium.new_context()
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".buttons button")
    page.evaluate(CLICK, steps[:3])
    server.kill()
    page.mouse.click(*_at(page, steps[3]))  # nobody is there to answer
    page.wait_for_selector(".away:not([hidden])")
    server.start()
    page.wait_for_selector(".away", state="hidden", timeout=60_000)
    assert server.get(f"/api/sessions/{made['id']}")["count"] == 4
    page.evaluate(CLICK, steps[4:6])
    context.close()  # the browser is gone, without a word
    context = chromium.new_context()
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".buttons button")
    page.evaluate(CLICK, steps[6:])
    page.wait_for_selector(".ending h2 .score")
    played = server.get(f"/api/episode/0-{made['id']}")
    assert [[row["x"], row["y"]] for row in played["steps"]] == steps
    context.close()


def _at(page: Any, point: list[int]) -> tuple[float, float]:
    box = page.locator(".screen").bounding_box()
    x, y = ((p + 0.5) / size for p, size in zip(point, (480, 360), strict=True))
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_two_tabs_agree(page: Any, server: Server) -> None:
    name = begin(page, server, "neuron_tracking")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(".buttons button")
    page.evaluate(CLICK, [[100, 150]])
    until(other, "document.querySelector('.counters').innerText.includes('Points\\n01')")
    other.evaluate(CLICK, [[120, 150]])
    until(page, "document.querySelector('.counters').innerText.includes('Points\\n02')")
    assert server.get(f"/api/sessions/{name}")["count"] == 2


def test_the_keyboard_alone_is_enough(page: Any, server: Server) -> None:
    name = begin(page, server, "colored_dot_tracking")
    answered = "(n) => performance.getEntriesByName('bcprobe-answer').length === n"
    page.locator(".screen").focus()
    for number, key in enumerate(("ArrowRight+Enter", "d", "u", "r", "n", "3", "Control+z"), 1):
        keys = key.split("+") if key.startswith("Arrow") else [key]
        for one in keys:
            page.keyboard.press(one)
        until(page, answered, number)
    rows = server.get(f"/api/sessions/{name}")
    assert dict(rows["status"])["Points"] == "0"
    assert rows["can_redo"]
    page.keyboard.press("5")  # Done
    page.wait_for_selector(".ending h2 .score")


def test_a_world_is_chosen_and_a_model_watched_by_keyboard(page: Any, server: Server) -> None:
    page.goto(f"{server.address}/watch")
    page.wait_for_selector(".tasks")
    focused = "document.activeElement"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused}.name === 'task'"):
            break
    page.keyboard.press("ArrowDown")
    assert "Neuron tracking" in page.inner_text(".asked")
    page.keyboard.press("ArrowUp")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused}.innerText === 'Watch' && {focused}.type === 'submit'"):
            break
    page.keyboard.press("Enter")
    until(page, "!['–', undefined].includes(document.querySelector('.meter b')?.innerText)")
    count = "document.querySelector('.timeline').getAttribute('aria-valuenow')"
    page.keyboard.press("ArrowRight")
    until(page, f"{count} === '1'")
    page.keyboard.press("t")
    page.wait_for_selector(".screen.mine[role=application]")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    until(page, f"{count} === '2'")
    page.keyboard.press("t")
    page.wait_for_selector(".screen:not(.mine)[role=img]")
    name = page.url.partition("run=")[2].partition("&")[0]
    rows = server.get(f"/api/sessions/{name}")["steps"]
    assert [row["source"] for row in rows] == ["model", "pointer"]
    page.keyboard.press("Home")
    until(page, f"{count} === '0'")


#: Roles of what one can use or must know to be where one is.
NAMED = (
    "application", "button", "checkbox", "combobox", "complementary", "columnheader",
    "DisclosureTriangle", "heading", "image", "link", "navigation", "radio", "radiogroup", "slider",
    "spinbutton", "table", "textbox",
)  # fmt: skip


def told(page: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Role, name and properties of everything that a screen reader is told of."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            {one["name"]: one["value"].get("value") for one in node.get("properties", [])},
        )
        for node in tree
        if not node.get("ignored")
    ]


def test_everything_has_a_name_that_can_be_read_aloud(page: Any, server: Server) -> None:
    begin(page, server, "animal_limb_tracking")
    made = server.post("/api/watch", task="colored_dot_tracking", world_seed=1)
    pages = {
        "/annotate": {"radio Neuron tracking", "spinbutton Test world", "button Begin"},
        page.url.removeprefix(server.address): {"button Head", "button Undo", "button Done"},
        "/watch": {"combobox Checkpoint", "button Watch"},
        f"/watch?run={made['id']}": {
            "button Play", "button Take over", "slider Click of the episode", "slider Layer",
            "slider Along the mistake direction, in separations", "combobox Site",
        },
        "/explore?source=1": {"combobox Task", "button Side by side", "table Episodes"},
        "/explore?a=1-0": {"button Play", "slider Click of the episode", "button Next mistake"},
        "/explore?a=1-0&b=1-1": {"button One click on"},
        "/annotate?session=nobody": {"link Begin again"},
    }  # fmt: skip
    for address, wanted in pages.items():
        page.goto(server.address + address)
        page.wait_for_selector("main h1")
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        nodes = told(page)
        assert [role for role, name, _ in nodes if role in NAMED and not name.strip()] == []
        assert wanted <= {f"{role} {name}" for role, name, _ in nodes}, address
        assert any(known.get("live") == "polite" for _, _, known in nodes)


def test_clicks_and_phases_are_announced(page: Any, server: Server) -> None:
    begin(page, server, "colored_dot_tracking")
    page.keyboard.press("d")
    until(page, "document.querySelector('.said').innerText === 'Presses +z. Z 01/15, Points 0'")
    page.goto(f"{server.address}/explore?a=1-1")
    page.wait_for_selector(".timeline .phase")
    page.keyboard.press("ArrowRight")
    said = "document.querySelector('.said').innerText"
    until(page, f"/^Click 1 of .* · (explore|annotate)/.test({said})")
    slider = next(known for role, _, known in told(page) if role == "slider")
    assert slider["valuetext"].startswith("click 1: ")
    assert slider["valuetext"].endswith(("explore", "annotate"))


def test_markup_in_names_stays_text(page: Any, server: Server) -> None:
    page.goto(f"{server.address}/explore?source=1")
    page.wait_for_selector(".rows tbody tr")
    assert HOSTILE in page.inner_text(".rows")
    page.goto(f"{server.address}/explore?a=1-0&b=1-1&step=5")
    page.wait_for_selector(".timeline")
    assert HOSTILE in page.inner_text("main")
    assert page.locator("main img, main b").count() == 0
    assert "owned" not in page.title()


@pytest.mark.slow
def test_a_model_is_watched_tripped_taken_over_and_steered(page: Any, server: Server) -> None:
    made = server.post("/api/watch", task="colored_dot_tracking", world_seed=(2 << 40) + 5)
    page.goto(f"{server.address}/watch?run={made['id']}")
    shown = "document.querySelector('.head p')?.innerText.includes"
    until(page, "!['–', undefined].includes(document.querySelector('.meter b')?.innerText)")
    page.get_by_role("button", name="One click on").click()
    until(page, f"{shown}('click 1 of 1')")
    page.get_by_role("button", name="Trip it up").click()
    page.wait_for_selector(".truth.stands")
    assert "a mistake stands" in page.inner_text(".log")
    page.get_by_role("button", name="One click on").click()
    until(page, "document.querySelector('.log').innerText.includes('undone after 1')")
    page.get_by_role("button", name="Take over").click()
    page.wait_for_selector(".screen.mine")
    count = server.get(f"/api/sessions/{made['id']}")["count"]
    page.mouse.click(*_at(page, [120, 150]))
    until(page, f"{shown}('click {count + 1} of')")
    page.get_by_role("button", name="Hand back").click()
    slider = page.get_by_label("Along the mistake direction, in separations")
    slider.fill("-3")
    page.get_by_role("heading", name="Unsteered twin").wait_for()
    page.get_by_role("button", name="One click on").click()
    until(page, f"{shown}('click {count + 2} of')")
    rows = server.get(f"/api/sessions/{made['id']}")["steps"]
    assert [row["source"] for row in rows[-2:]] == ["pointer", "model"]
    assert rows[-1]["steer"]["amount"] == -3
    page.get_by_label("Click of the episode").press("Home")
    until(page, f"{shown}('click 0 of')")
    until(page, "location.search.includes('step=0&')")
    assert replayed(page, server) == [made["id"], rows]


def replayed(page: Any, server: Server) -> list[Any]:
    """Open the address elsewhere, without the names by which this server knows the run.

    Returns the run's name and clicks as they were, after it has compared run and twin with those
    that the address made again.
    """
    place, _, query = page.url.partition("?")
    own = dict(urllib.parse.parse_qsl(query))
    names = [own.pop("run"), own.pop("beside")]
    page.goto(f"{place}?{urllib.parse.urlencode(own)}")
    page.wait_for_selector(".stage.pair")
    until(page, "location.search.includes('beside=')")
    until(page, "!document.querySelector('.half h3 .note').innerText.includes('–')")
    made = dict(urllib.parse.parse_qsl(page.url.partition("?")[2]))
    again = [made["run"], made["beside"]]
    assert not set(again) & set(names)
    for before, after in zip(names, again, strict=True):
        a, b = (server.get(f"/api/sessions/{name}") for name in (before, after))
        for known in ("task", "world_seed", "layout", "difficulty", "settings", "picture"):
            assert a[known] == b[known]
        kept = ("x", "y", "source", "steer", "phase", "mistake")
        assert [[r[k] for k in kept] for r in a["steps"]] == [
            [r[k] for k in kept] for r in b["steps"]
        ]
        last = a["count"] - 1
        read = server.get(f"/api/sessions/{after}/readings/{max(0, last - 20)}/{last}")
        assert [one["p_undo"] for one in read] == pytest.approx(
            [row["p_undo"] for row in a["steps"][-len(read) :]], abs=1e-3
        )
        assert [one["trip"] for one in read] == [row["trip"] for row in a["steps"][-len(read) :]]
    return [names[0], server.get(f"/api/sessions/{names[0]}")["steps"]]
