"""The Prefect UI as people meet it: the form, a run started from it, and what the run shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from apps.services.addresses import Services
from apps.services.lifecycle import down
from apps.services.ports import PortPlan
from apps.services.supervisor import up_detached
from blocks.settings import Settings
from tests.browser_fixture import chromium  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.prefect,
    pytest.mark.seaweed,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("services"),
]

SHOWN_MS = 20_000
RUN_MS = 90_000
PROMPTS = ("a red fox in the snow", "a lighthouse at night")
NAME = "generate-images-batch/on-demand"
ON_DEMAND = {"deployments": {"name": {"any_": ["on-demand"]}}}
TITLES = (
    "Prompts", "Style", "At once", "Provider", "Model", "Store", "Aspect ratio", "Size", "Seed",
    "Images per prompt", "Avoid", "Safety filter", "Reference images", "Webhook", "Output folder",
    "Reuse within (s)", "Resend ambiguous", "Budget (USD)", "Dry run", "Fallback",
    "Style lock", "Diffusion",
)  # fmt: skip


@pytest.fixture(scope="module")
def services(
    chromium: Browser,  # noqa: F811 - without a browser nothing needs to be started
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Services]:
    """What `imagemill up --detach --any-port` starts in a fresh home, without a Google key."""
    settings = Settings(home=tmp_path_factory.mktemp("ui") / "home")
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("PREFECT_HOME", str(settings.home / "no-prefect"))
        try:
            yield up_detached(settings, say=print, ports=PortPlan(any_port=True))
        finally:
            down(settings, say=print)


def deployment_id(services: Services) -> str:
    """Ask the server for the id of the on-demand deployment."""
    answer = httpx.get(f"{services.prefect_url}/deployments/name/{NAME}")
    return str(answer.raise_for_status().json()["id"])


@dataclass
class Desk:
    """A browser at the UI. `fetched` are the statuses of what it got, by address."""

    page: Page
    services: Services
    fetched: dict[str, int] = field(default_factory=dict)

    def open(self, path: str) -> None:
        """Open a page of the UI that people get (`/` leads to /v2)."""
        self.page.goto(f"{self.services.ui_url}/v2{path}")

    def open_form(self) -> None:
        """Open the form of the on-demand deployment and wait until it is drawn."""
        self.open(f"/deployments/deployment/{deployment_id(self.services)}/run")
        self.page.get_by_role("button", name="Add item").wait_for()

    def add_prompt(self, words: str) -> None:
        """Write one more prompt into the list."""
        add = self.page.get_by_role("button", name="Add item")
        fields = self.page.locator("fieldset").filter(has=add).last.locator("textarea")
        before = fields.count()
        add.click()
        # A busy machine draws the new field late; the last one there would be the one before.
        expect(fields).to_have_count(before + 1)
        fields.nth(before).fill(words)
        expect(fields.nth(before)).to_have_value(words)

    def list_of(self, title: str) -> Locator:
        """Find the list (a button that shows what is chosen) under a field's or a tab's title."""
        return self.page.get_by_role("button", name=f"Select {title}", exact=True)

    def choose(self, title: str, wanted: str) -> None:
        """Pick `wanted` from a list; one that closes again while the page is drawn is opened again."""
        option = self.page.get_by_role("option", name=wanted, exact=True)
        for _ in range(5):
            self.list_of(title).click()
            try:
                option.click(timeout=SHOWN_MS / 4)
            except PlaywrightTimeout:
                self.page.keyboard.press("Escape")
            else:
                break
        expect(self.list_of(title)).to_have_text(wanted)

    def submit(self) -> None:
        """Press the form's button."""
        self.page.get_by_role("button", name="Submit").click()

    def start_run(self) -> None:
        """Press the form's button and follow the notice; busy, Prefect's SQLite says 503: once more."""
        for _ in range(5):
            with self.page.expect_response("**/create_flow_run") as answer:
                self.submit()
            if answer.value.status != httpx.codes.SERVICE_UNAVAILABLE:
                break
        assert answer.value.ok, answer.value.text()
        self.page.get_by_role("button", name="View run").click()


@contextmanager
def _desk(browser: Browser, services: Services) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(SHOWN_MS)
    desk = Desk(page, services)

    def gate(route: Route) -> None:
        # The UI asks for its makers' telemetry settings; nothing leaves this machine.
        loopback = urlsplit(route.request.url).hostname in {"127.0.0.1", None}
        (route.continue_ if loopback else route.abort)()

    page.route("**/*", gate)
    page.on("response", lambda got: desk.fetched.update({got.url: got.status}))
    try:
        yield desk
    finally:
        context.close()


@pytest.fixture
def desk(chromium: Browser, services: Services) -> Iterator[Desk]:  # noqa: F811
    """A browser at the UI, in a fresh profile."""
    with _desk(chromium, services) as opened:
        yield opened


def test_the_door_leads_to_the_ui_that_is_tested_here(desk: Desk) -> None:
    """Whoever opens the printed address gets the second generation of Prefect's UI."""
    desk.page.goto(f"{desk.services.ui_url}/")
    desk.page.wait_for_url("**/v2/dashboard**")


def test_the_form_says_what_each_field_is(desk: Desk) -> None:
    """Every parameter has its title, a description and its default; styles are a list."""
    desk.open_form()
    page = desk.page
    for title in TITLES:
        label = title if title == "Prompts" else f"{title} (Optional)"
        expect(page.get_by_text(label, exact=True)).to_be_visible()
    described = page.locator("p.text-muted-foreground").all_inner_texts()
    assert len([words for words in described if words]) >= len(TITLES)
    assert not [words for words in described if "`" in words]
    at_once = page.get_by_label("At once")
    assert (at_once.input_value(), at_once.get_attribute("max")) == ("3", "100")
    expect(desk.list_of("Built in")).to_have_text("sketch")
    expect(desk.list_of("From the shelf")).to_have_text("Flat Corporate")
    expect(desk.list_of("Aspect ratio")).to_have_text("1:1")


def test_the_form_refuses_what_the_batch_would_refuse(desk: Desk) -> None:
    """No prompts, or more at once than allowed: said beside the field, and no run is made."""
    desk.open_form()
    desk.submit()
    expect(desk.page.get_by_text("'prompts' is a required property", exact=True)).to_be_visible()
    desk.add_prompt(PROMPTS[0])
    desk.page.get_by_label("At once").fill("1000")
    desk.submit()
    refusal = desk.page.get_by_label("At once").evaluate("field => field.validationMessage")
    assert "100" in refusal
    runs = httpx.post(f"{desk.services.prefect_url}/flow_runs/filter", json=ON_DEMAND).json()
    assert runs == []


def test_rows_have_a_form_of_their_own(desk: Desk) -> None:
    """Behind a tab, with a field for each setting; the list of words stays as plain as it was."""
    desk.open_form()
    page = desk.page
    desk.add_prompt(PROMPTS[0])
    expect(page.get_by_text("Prompt", exact=True)).to_have_count(0)
    page.get_by_role("tab", name="Rows").click()
    page.get_by_role("button", name="Add item").first.click()
    expect(page.get_by_text("Prompt", exact=True)).to_be_visible()
    for title in ("Style", "Seed", "Aspect ratio", "Reference images", "Diffusion"):
        expect(page.get_by_text(f"{title} (Optional)", exact=True)).to_have_count(2)


def test_the_server_takes_rows(services: Services) -> None:
    """A run in a far year, so that nothing is drawn here."""
    address = f"{services.prefect_url}/deployments/{deployment_id(services)}/create_flow_run"
    rows = [
        {"prompt": "x", "style_name": "Watercolor", "seed": 0, "diffusion": {"steps": 9}},
        {"prompt": "y", "style_name": "My own", "references": ["a.png"], "model": ""},
    ]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"}}
    answer = httpx.post(address, json={"parameters": {"prompts": rows}, "state": later})
    assert answer.status_code == 201, answer.text
    run = f"{services.prefect_url}/flow_runs/{answer.json()['id']}"
    assert httpx.delete(run).status_code == 204


@pytest.mark.parametrize(
    ("field_name", "parameters", "why"),
    [
        ("prompts", {"prompts": []}, "[] should be non-empty"),
        ("max_concurrent", {"prompts": ["x"], "max_concurrent": 1000}, "maximum of 100"),
        ("seed", {"prompts": ["x"], "seed": -1}, "minimum of 0"),
        ("style_name", {"prompts": ["x"], "style_name": ""}, "should be non-empty"),
        (
            "prompts[1].seed",
            {"prompts": [{"prompt": "x"}, {"prompt": "x", "seed": "y"}]},
            "integer",
        ),
        ("prompts[0]", {"prompts": [{"seed": 7}]}, "'prompt' is a required property"),
    ],
)
def test_the_server_refuses_them_too(
    services: Services, field_name: str, parameters: dict[str, object], why: str
) -> None:
    """Whoever goes past the form hears from the API which field is wrong and why."""
    address = f"{services.prefect_url}/deployments/{deployment_id(services)}/create_flow_run"
    answer = httpx.post(address, json={"parameters": parameters})
    assert answer.status_code == 409
    assert f"field '{field_name}'" in answer.json()["detail"]
    assert why in answer.json()["detail"]


def test_a_run_from_the_form_ends_with_its_pictures(desk: Desk) -> None:
    """Submit, wait, look: completed, three artifacts, the contact sheet loaded by the gateway."""
    desk.open_form()
    for words in PROMPTS:
        desk.add_prompt(words)
    desk.choose("From the shelf", "Watercolor")
    desk.choose("Size", "256")
    desk.start_run()
    page = desk.page
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=RUN_MS)
    expect(page.get_by_text("2 x Watercolor by sketch").first).to_be_visible()
    run_id = urlsplit(page.url).path.rsplit("/", 1)[1]
    desk.open(f"/runs/flow-run/{run_id}?tab=Artifacts")
    for kind in ("progress", "results"):
        expect(page.get_by_text(f"{kind}-{run_id}").first).to_be_visible()
    page.get_by_text(f"summary-{run_id}").first.click()
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    sheet = page.get_by_alt_text("Contact sheet")
    sheet.wait_for()
    page.wait_for_function("image => image.complete", arg=sheet.element_handle())
    gateway = f"{desk.services.gateway_url}/r/{run_id}"
    assert sheet.get_attribute("src") == f"{gateway}/contact-sheet.png"
    assert sheet.evaluate("image => image.naturalWidth") >= 720
    assert desk.fetched[f"{gateway}/contact-sheet.png"] == 302
    expect(page.get_by_role("heading", name="2 of 2 images · Watercolor")).to_be_visible()
    link = page.get_by_role("link", name="Open the gallery")
    assert link.get_attribute("href") == f"{gateway}/gallery.html"
    page.goto(f"{gateway}/gallery.html")
    expect(page.locator(".frame img")).to_have_count(len(PROMPTS))
