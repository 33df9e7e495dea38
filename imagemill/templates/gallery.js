(() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const sheet = find("sheet"), box = find("box"), search = find("search"), sort = find("sort");
  const frames = [...sheet.children].map((frame) => ({
    frame,
    words: frame.querySelector(".prompt").textContent.toLowerCase(),
    prompt: frame.querySelector(".prompt").textContent,
    group: frame.dataset.group,
  }));
  const tabs = [...document.querySelectorAll(".tabs button")];
  let shown = frames.slice(), group = "all", at = 0;

  const orders = {
    index: (a, b) => a.frame.dataset.index - b.frame.dataset.index,
    cost: (a, b) => b.frame.dataset.cost - a.frame.dataset.cost,
    seconds: (a, b) => b.frame.dataset.seconds - a.frame.dataset.seconds,
    attempts: (a, b) => b.frame.dataset.attempts - a.frame.dataset.attempts,
    prompt: (a, b) => a.prompt.localeCompare(b.prompt),
  };

  const apply = () => {
    const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    shown = frames.filter((one) =>
      (group === "all" || one.group === group) && wanted.every((word) => one.words.includes(word)));
    const kept = new Set(shown);
    for (const one of frames) one.frame.hidden = !kept.has(one);
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.group === group));
    find("nothing").hidden = shown.length > 0;
    find("said").textContent = `${shown.length} of ${frames.length} images shown`;
  };

  const reorder = () => {
    frames.sort((a, b) => orders[sort.value](a, b) || orders.index(a, b));
    sheet.append(...frames.map((one) => one.frame));
    apply();
  };

  const show = (to) => {
    at = (to + shown.length) % shown.length;
    const { frame, prompt } = shown[at];
    const link = frame.querySelector(".picture");
    find("stage").replaceChildren(link.firstElementChild.cloneNode(true));
    find("box-no").textContent = `Image ${frame.dataset.index}`;
    find("box-of").textContent = `${at + 1} of ${shown.length}`;
    find("box-prompt").textContent = prompt;
    find("box-error").textContent = frame.querySelector(".error")?.textContent ?? "";
    find("box-facts").replaceChildren(
      ...[...frame.querySelector(".facts").children].map((fact) => fact.cloneNode(true)));
    find("full").hidden = link.target !== "_blank";
    find("full").href = link.href;
    find("copy").textContent = "Copy prompt";
    find("back").hidden = find("on").hidden = shown.length < 2;
  };

  const open = (frame) => {
    show(shown.findIndex((one) => one.frame === frame));
    box.showModal();
    find("close").focus();
  };

  const copy = async () => {
    const text = shown[at].prompt;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      box.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      find("copy").focus();
    }
    find("copy").textContent = "Copied";
  };

  sheet.addEventListener("click", (event) => {
    const link = event.target.closest(".picture");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link.closest(".frame"));
  });
  for (const tab of tabs) {
    tab.addEventListener("click", () => { group = tab.dataset.group; apply(); });
  }
  let pause;
  search.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(apply, 60); });
  sort.addEventListener("change", reorder);
  find("bar").addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  find("clear").addEventListener("click", () => {
    search.value = "";
    group = "all";
    apply();
    search.focus();
  });
  find("back").addEventListener("click", () => show(at - 1));
  find("on").addEventListener("click", () => show(at + 1));
  find("close").addEventListener("click", () => box.close());
  find("copy").addEventListener("click", copy);
  box.addEventListener("close", () => {
    const link = shown[at].frame.querySelector(".picture");
    link.focus();
    link.scrollIntoView({ block: "nearest" });
  });
  box.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 };
    if (event.key in steps && !event.altKey && !event.metaKey) {
      event.preventDefault();
      show(steps[event.key]);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !box.open && event.target !== search) {
      event.preventDefault();
      search.focus();
    }
  });
  let from = null;
  find("stage").addEventListener("touchstart", (event) => {
    from = event.touches.length === 1 ? event.touches[0].clientX : null;
  }, { passive: true });
  find("stage").addEventListener("touchend", (event) => {
    if (from === null) return;
    const moved = event.changedTouches[0].clientX - from;
    if (Math.abs(moved) > 48) show(at + (moved < 0 ? 1 : -1));
  });

  document.documentElement.classList.add("js");
  find("bar").hidden = false;
  sort.value = "index";
  search.value = "";
})();
