// The page of a spec: what is chosen, pointed at or stepped to lights up in the diagram and in both texts.
"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  let stage = null; // what is said of the stage that is shown
  const known = []; // number -> thing, of those that it has
  const numbers = (element) => (element?.dataset.t ?? "").split(" ").filter((n) => n && known[n]).map(Number);

  // An element with attributes and children; a text is a text, never markup.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  // --- what the reader has done; kept over a reload

  const store = `gangraph ${facts.name}`;
  const state = { chosen: [], member: 0, player: -1, step: -1, moment: 0, view: null, scroll: [], tab: "details", sizes: {} };
  const names = (things) => things.map((n) => `${known[n].kind} ${known[n].name}`);

  function save() {
    const panes = all(".pane").map((pane) => [pane.scrollTop, pane.scrollLeft]);
    const theme = document.documentElement.dataset.theme;
    const kept = { ...state, stage: stage?.name, chosen: names(state.chosen), scroll: panes, theme };
    try {
      sessionStorage.setItem(store, JSON.stringify(kept));
    } catch {} // a browser that is told to keep nothing
  }

  function saved() {
    try {
      return JSON.parse(sessionStorage.getItem(store));
    } catch {
      return null;
    }
  }

  function restore() {
    const kept = saved();
    if (!kept) return;
    if (kept.theme) document.documentElement.dataset.theme = kept.theme;
    for (const [name, size] of Object.entries(kept.sizes)) resize(name, size);
    const number = facts.stages?.findIndex(({ name }) => name === kept.stage) ?? -1;
    if (number >= 0 && facts.stages[number] !== stage) enter(number);
    all(".pane").forEach((pane, i) => pane.scrollTo(...(kept.scroll[i] ?? [0, 0]).toReversed()));
    if (!stage) return;
    const named = new Map(stage.things.map(([n]) => [names([n])[0], n]));
    state.chosen = kept.chosen.filter((name) => named.has(name)).map((name) => named.get(name));
    state.member = Math.min(kept.member, Math.max(0, state.chosen.length - 1));
    if (kept.player < stage.players.length) state.player = kept.player;
    if (stage.steps[kept.step]?.moments[kept.moment]) [state.step, state.moment] = [kept.step, kept.moment];
    if (kept.view) setView(kept.view);
    showTab(kept.tab);
    render(false);
  }

  // --- light and dark, sizes

  function turnTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  }

  function resize(name, size) {
    state.sizes[name] = size;
    document.documentElement.style.setProperty(`--${name}`, `${size}px`);
  }

  // A bar between two parts: pulled with the pointer, or moved with the arrows.
  function split(bar, name, sized, sizeAt, less, more) {
    if (!bar) return;
    const limit = (size) => Math.max(80, Math.min(size, (name === "side" ? innerWidth : innerHeight) - 160));
    bar.addEventListener("pointerdown", (event) => {
      bar.setPointerCapture(event.pointerId);
      bar.onpointermove = (moved) => resize(name, limit(sizeAt(moved)));
      bar.onpointerup = () => (bar.onpointermove = null);
    });
    bar.addEventListener("keydown", (event) => {
      const step = { [more]: 24, [less]: -24 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const box = sized().getBoundingClientRect();
      resize(name, limit((name === "side" ? box.width : box.height) + step));
    });
  }

  split(find("#split-side"), "side", () => find("aside"), (e) => innerWidth - e.clientX, "ArrowRight", "ArrowLeft");
  split(find("#split-texts"), "texts", () => find("#texts"), (e) => innerHeight - e.clientY, "ArrowDown", "ArrowUp");

  find("#theme").addEventListener("click", turnTheme);
  find("#printer").addEventListener("click", () => print());
  find("#helper").addEventListener("click", () => find("#help").showModal());
  addEventListener("pagehide", save);

  // --- a spec that is wrong: a problem leads to its line

  for (const item of all("#problems li")) {
    const go = () => {
      const text = all(".text").find((t) => t.dataset.file === item.dataset.file);
      text?.querySelector(`.l[data-n="${item.dataset.line}"]`)?.scrollIntoView({ block: "center" });
    };
    item.addEventListener("click", go);
    item.addEventListener("keydown", (event) => event.key === "Enter" && go());
  }
  find(".l.wrong")?.scrollIntoView({ block: "center" });

  // --- the server of `view --watch` says when the page is another one

  if (facts.live) {
    const events = new EventSource(`/events?${facts.live}`);
    events.onmessage = () => location.reload();
    events.onerror = () => document.body.classList.add("alone");
    events.onopen = () => document.body.classList.remove("alone");
    addEventListener("pagehide", () => events.close());
  }
  if (!facts.stages) {
    restore();
    return;
  }

  // --- the diagram: pan and zoom

  const canvas = find("#canvas");
  let picture, whole, view; // of the stage

  function setView(next) {
    const [x, y, w, h] = next;
    const least = whole[2] / 40;
    if (!(w > least && w < whole[2] * 8)) return;
    const inside = (at, size, from, full) => Math.max(from - size * 0.8, Math.min(at, from + full - size * 0.2));
    view = [inside(x, w, whole[0], whole[2]), inside(y, h, whole[1], whole[3]), w, h];
    state.view = view;
    picture.setAttribute("viewBox", view.map((n) => n.toFixed(2)).join(" "));
  }

  function place(clientX, clientY) {
    const at = new DOMPoint(clientX, clientY).matrixTransform(picture.getScreenCTM().inverse());
    return [at.x, at.y];
  }

  function zoom(factor, clientX, clientY) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = place(clientX ?? box.x + box.width / 2, clientY ?? box.y + box.height / 2);
    setView([x - (x - view[0]) / factor, y - (y - view[1]) / factor, view[2] / factor, view[3] / factor]);
  }

  function pan(dx, dy) {
    const scale = picture.getScreenCTM().a;
    setView([view[0] - dx / scale, view[1] - dy / scale, view[2], view[3]]);
  }

  // Brings a group into view, large enough to be read.
  function reveal(mark) {
    const [at, box, scale] = [mark.getBoundingClientRect(), canvas.getBoundingClientRect(), picture.getScreenCTM().a];
    const inside = at.left >= box.left && at.right <= box.right && at.top >= box.top && at.bottom <= box.bottom;
    if (inside && scale > 0.4) return;
    const [x, y] = place((at.left + at.right) / 2, (at.top + at.bottom) / 2);
    const [w, h] = [box.width, box.height].map((n) => n / Math.max(scale, 1));
    const top = at.height / scale < h ? y - h / 2 : place(at.left, at.top)[1] - h / 20; // of a tall one its head
    const within = (from, size, begin, full) => (size < full ? Math.max(begin, Math.min(from, begin + full - size)) : from);
    setView([within(x - w / 2, w, whole[0], whole[2]), within(top, h, whole[1], whole[3]), w, h]);
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX, event.clientY);
  }, { passive: false });

  const pointers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    moved += Math.abs(dx) + Math.abs(dy);
    if (moved > 4 && !canvas.hasPointerCapture(event.pointerId)) canvas.setPointerCapture(event.pointerId);
    canvas.classList.toggle("held", moved > 4);
    if (others.length === 1) { // two fingers
      const span = (at) => Math.hypot(at[0] - others[0][0], at[1] - others[0][1]);
      zoom(span([event.clientX, event.clientY]) / span(last), (event.clientX + others[0][0]) / 2, (event.clientY + others[0][1]) / 2);
    } else if (moved > 4) pan(dx, dy);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    addEventListener(kind, (event) => {
      pointers.delete(event.pointerId);
      canvas.classList.remove("held");
    });
  }
  canvas.addEventListener("dblclick", (event) => zoom(1.6, event.clientX, event.clientY));
  const zooms = { in: () => zoom(1.3), out: () => zoom(1 / 1.3), fit: () => setView(whole) };
  for (const button of all("[data-zoom]")) button.addEventListener("click", zooms[button.dataset.zoom]);

  let before = null; // a print shows the whole
  addEventListener("beforeprint", () => { before = view; setView(whole); });
  addEventListener("afterprint", () => before && setView(before));

  // --- what stands for what: groups of the diagram, lines of the texts

  const texts = all(".text");
  const lines = texts.map((text) => all(".l", text));
  const program = texts.length - 1;
  const [groups, marks] = [new Map(), new Map()]; // of the stage: id -> element, thing -> elements
  const regions = new Map(); // of the stage: thing -> [text, first, last]
  const spelled = new Map(); // of the stage: thing -> its names in the texts
  const add = (map, key, value) => map.get(key)?.push(value) ?? map.set(key, [value]);

  function mark() {
    for (const map of [groups, marks, regions, spelled]) map.clear();
    for (const element of all("#picture g[id]")) groups.set(element.id, element);
    for (const [id, things] of Object.entries(stage.marks)) {
      const element = groups.get(id);
      if (!element) continue;
      element.setAttribute("tabindex", "0");
      element.setAttribute("role", "button");
      element.setAttribute("aria-label", names(things).join(", "));
    }
    known.forEach((thing, n) => marks.set(n, thing.marks.map((id) => groups.get(id)).filter(Boolean)));
    for (const line of lines[program]) line.classList.remove("elsewhere");
    for (const [first, last] of stage.elsewhere) {
      for (let i = first - 1; i < last; i++) lines[program][i].classList.add("elsewhere");
    }
    const skipped = texts.length - facts.regions.length; // the spec has none while it is wrong
    facts.regions.forEach((found, i) => {
      for (const [first, last, things] of found) {
        const text = i + skipped;
        if (lines[text][first - 1].classList.contains("elsewhere")) continue;
        for (const n of things) if (known[n]) add(regions, n, [text, first, last]);
      }
    });
    for (const span of all(".name[data-t]")) for (const n of numbers(span)) add(spelled, n, span);
  }

  const linesOf = (things) => things.flatMap((n) => regions.get(n) ?? []);

  function scrollTo(pane, found) {
    const here = found.filter(([text]) => texts[text].closest(".pane") === pane);
    if (!here.length) return;
    const box = pane.getBoundingClientRect();
    const top = (line) => line.getBoundingClientRect().top;
    const visible = here.some(([t, first]) => top(lines[t][first - 1]) > box.top + 20 && top(lines[t][first - 1]) < box.bottom - 20);
    if (visible) return;
    const [text, first, last] = here.reduce((a, b) => (b[2] - b[1] > a[2] - a[1] ? b : a));
    const space = (last - first) * 18 > box.height * 0.6 ? 40 : box.height / 3;
    pane.scrollTop += top(lines[text][first - 1]) - box.top - space;
  }

  const panes = { spec: find("#spec"), program: find("#program") };
  function clear(...kinds) {
    for (const kind of kinds) for (const element of all(`.${kind}`)) element.classList.remove(kind);
  }

  // --- pointing: for as long as the pointer, or the line with the focus, is there

  let pointed = "";
  function point(things, from) {
    const key = things.join(" ");
    if (key === pointed) return;
    pointed = key;
    clear("pointed", "same");
    const found = linesOf(things);
    for (const [text, first, last] of found) {
      for (let i = first - 1; i < last; i++) lines[text][i].classList.add("pointed");
    }
    for (const n of things) {
      for (const element of marks.get(n)) element.classList.add("pointed");
      for (const span of spelled.get(n) ?? []) span.classList.add("same");
    }
    for (const pane of Object.values(panes)) if (pane !== from) scrollTo(pane, found);
  }

  const thingsAt = (element) => {
    const span = element.closest?.(".name[data-t]");
    return numbers(span ?? element.closest?.(".l"));
  };
  let current = null; // the line with the focus
  function stand(line) {
    current?.classList.remove("here");
    current = line;
    if (!line) return;
    line.classList.add("here");
    line.scrollIntoView({ block: "nearest" });
    point(numbers(line), line.closest(".pane"));
  }
  for (const pane of Object.values(panes)) {
    pane.addEventListener("pointerover", (event) => point(thingsAt(event.target), pane));
    pane.addEventListener("pointerleave", () => point([], null));
    pane.addEventListener("click", (event) => {
      const things = thingsAt(event.target);
      if (things.length && getSelection().isCollapsed) go(things, pane);
    });
    pane.addEventListener("keydown", (event) => {
      const own = all(".l", pane);
      const at = own.indexOf(current);
      const next = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1 }[event.key];
      if (next !== undefined && own[next]) {
        event.preventDefault();
        event.stopPropagation();
        stand(own[next]);
      } else if (event.key === "Enter" && at >= 0) go(numbers(current), pane);
    });
    pane.addEventListener("blur", () => { stand(null); point([], null); });
  }

  const markAt = (target) => {
    for (let g = target.closest?.("g[id]"); g; g = g.parentElement.closest("g[id]")) if (stage.marks[g.id]) return g;
    return null;
  };
  canvas.addEventListener("pointerover", (event) => {
    const mark = pointers.size ? null : markAt(event.target);
    point(mark ? stage.marks[mark.id] : [], null);
    clear("near");
    if (mark) stage.edges.forEach((ends, i) => {
      if (ends.includes(mark.id)) groups.get(`e${i}`)?.classList.add("near");
    });
  });
  canvas.addEventListener("pointerleave", () => { point([], null); clear("near"); });
  canvas.addEventListener("click", (event) => {
    if (moved > 4) return;
    const mark = markAt(event.target);
    if (mark) pick(mark);
    else choose([]);
  });

  const pick = (mark) => go(stage.marks[mark.id], canvas);

  // To things, from a part of the page; of a player, to its gradient.
  function go(things, from = null) {
    const tables = new Set(things.filter((n) => known[n].kind === "player").flatMap((n) => known[n].marks));
    const player = tables.size === 1 ? stage.players.findIndex((p) => tables.has(p.mark)) : -1;
    if (player >= 0) light(player, things);
    else choose(things, from);
  }

  // --- choosing: a thing, a player's gradient, a step; the last one counts

  function choose(things, from = null, member = 0) {
    Object.assign(state, { chosen: things, member, player: -1, step: -1 });
    if (things.length) showTab("details");
    render(true, from);
  }

  function light(player, things = stage.marks[stage.players[player].mark]) {
    const again = state.player === player;
    Object.assign(state, { chosen: again ? [] : things, member: 0, player: again ? -1 : player, step: -1 });
    if (!again) showTab("details");
    render();
  }

  function step(number, moment) {
    Object.assign(state, { step: number, moment, chosen: [], player: -1 });
    showTab("details");
    render();
  }

  function walk(by) {
    const order = stage.steps.flatMap((stop, s) => stop.moments.map((_, m) => [s, m]));
    const at = order.findIndex(([s, m]) => s === state.step && m === state.moment);
    const next = at < 0 ? (by > 0 ? 0 : order.length - 1) : (at + by + order.length) % order.length;
    if (order.length) step(...order[next]);
  }

  // Everything that follows from the state.
  function render(scrolling = true, from = null) {
    const moment = state.step >= 0 ? stage.steps[state.step].moments[state.moment] : null;
    const things = moment ? moment.things : state.chosen;
    clear("chosen", "lit");
    illuminate(moment ? moment.lights : state.player >= 0 ? stage.players[state.player].lights : {});
    canvas.classList.toggle("flowing", moment?.name === "gradient" || state.player >= 0);
    if (state.player < 0) for (const n of state.chosen) for (const mark of marks.get(n)) mark.classList.add("chosen");
    const found = linesOf(things).filter(([text]) => !moment?.lines.length || text !== program);
    if (moment?.lines.length) found.push([program, moment.lines[0], moment.lines[0]]);
    for (const [text, first, last] of found) for (let i = first - 1; i < last; i++) lines[text][i].classList.add("lit");
    for (const n of moment?.lines ?? []) lines[program][n - 1].classList.add("lit");
    if (scrolling) for (const pane of Object.values(panes)) if (pane !== from) scrollTo(pane, found);
    const chosen = scrolling && from !== canvas && !moment && state.player < 0 && things.flatMap((n) => marks.get(n))[0];
    if (chosen) reveal(chosen);
    card(moment);
    for (const button of all("[data-player]")) button.ariaPressed = String(Number(button.dataset.player) === state.player);
    for (const button of all("[data-step]")) {
      const on = Number(button.dataset.step) === state.step && Number(button.dataset.moment) === state.moment;
      button.ariaPressed = String(on);
      if (on) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  let lamps = []; // elements with the classes that light them
  function illuminate(lights) {
    for (const [element, classes] of lamps) element.classList.remove(...classes);
    lamps = [];
    const lit = (element, classes) => {
      element.classList.add(...classes);
      lamps.push([element, classes]);
    };
    const lamplit = Object.entries(lights).filter(([id]) => groups.has(id));
    for (const [id, classes] of lamplit) lit(groups.get(id), ["lit", ...classes.split(" ")]);
    for (const [id] of lamplit) {
      const node = groups.get(id).parentElement.closest(".node");
      if (node && !node.classList.contains("lit")) lit(node, ["partly"]);
    }
    canvas.classList.toggle("lighting", lamplit.length > 0);
  }

  // --- details

  const parts = (found) => found.map((part) => typeof part === "string" ? part : link(part[0], part[1]));
  function link(text, things) {
    if (!things.length) return text;
    const follow = (event) => {
      event.preventDefault();
      go(things);
    };
    return make("a", {
      href: "#", class: "link", onclick: follow, onpointerenter: () => point(things, null), onpointerleave: () => point([], null),
    }, text);
  }

  function list(rows) {
    return make("dl", {}, ...rows.flatMap(([label, said]) => [make("dt", {}, label), make("dd", {}, ...parts(said))]));
  }

  function card(moment) {
    const at = find("#card");
    at.replaceChildren();
    find("#overview").hidden = moment !== null || state.chosen.length > 0;
    if (moment) {
      const stop = stage.steps[state.step];
      at.append(make("h2", {}, stop.name, " ", make("small", {}, moment.name)));
      if (stop.note) at.append(make("p", {}, `runs ${stop.note}`));
      at.append(list(moment.rows));
      return;
    }
    if (!state.chosen.length) return;
    if (state.chosen.length > 1) {
      at.append(make("div", { class: "members" }, ...state.chosen.map((n, i) => make("button", {
        type: "button", "aria-pressed": String(i === state.member), onclick: () => { state.member = i; card(null); },
      }, known[n].name))));
    }
    const thing = known[state.chosen[state.member]];
    at.append(make("h2", { class: thing.colour ?? "" }, thing.name, " ", make("small", {}, thing.kind)), list(thing.rows));
    for (const number of thing.equations ?? []) {
      at.append(find(`#equations [data-section="${number}"]`).cloneNode(true));
    }
    if (thing.layers) {
      const [head, ...rows] = thing.layers;
      at.append(make("div", { class: "layers" }, make("table", {}, make("thead", {}, make("tr", {}, ...head.map((cell) => make("th", {}, cell)))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))))))));
    }
    find("#details").scrollTop = 0;
  }

  function showTab(name) {
    state.tab = name;
    for (const tab of all("[role=tab]")) {
      const on = tab.getAttribute("aria-controls") === name;
      tab.ariaSelected = String(on);
      find(`#${tab.getAttribute("aria-controls")}`).hidden = !on;
    }
  }
  for (const tab of all("[role=tab]")) tab.addEventListener("click", () => showTab(tab.getAttribute("aria-controls")));
  showTab("details");

  find("#game").addEventListener("click", (event) => {
    const { player, step: number, moment } = event.target.closest("button")?.dataset ?? {};
    if (player) light(Number(player));
    else if (number) step(Number(number), Number(moment));
  });
  find("#back").addEventListener("click", () => walk(-1));
  find("#next").addEventListener("click", () => walk(1));

  // --- search: names first, then what is said of things, then lines

  const search = find("#search");
  const found = find("#found");
  const plain = (rows) => rows.map(([label, said]) => `${label} ${said.map((p) => (typeof p === "string" ? p : p[0])).join("")}`).join("; ");
  const entries = () => [
    ...known.map((thing, n) => ({ name: thing.name, note: thing.kind, more: plain(thing.rows), go: () => go([n]) })).filter(Boolean),
    ...facts.stages.map(({ name, rows }, number) => ({ name, note: "stage", more: plain(rows), go: () => turn(number) })),
    ...lines.flatMap((own, text) => own.map((line) => {
      const pane = texts[text].closest(".pane");
      const reach = () => {
        go(numbers(line), pane);
        line.scrollIntoView({ block: "center" });
        stand(line);
        pane.focus({ preventScroll: true });
      };
      return { name: "", note: `${pane.id} ${line.dataset.n}`, more: line.textContent, go: reach };
    })),
  ];

  function rank(entry, word) {
    const name = entry.name.toLowerCase();
    if (name === word) return 0;
    if (name.startsWith(word)) return 1;
    if (name.includes(word)) return 2;
    return entry.more.toLowerCase().includes(word) ? (entry.name ? 3 : 4) : -1;
  }

  function seek() {
    const word = search.value.trim().toLowerCase();
    const hits = word ? entries().map((entry) => [rank(entry, word), entry]).filter(([r]) => r >= 0) : [];
    hits.sort(([a], [b]) => a - b);
    const shown = hits.slice(0, 50).map(([rank, entry]) => {
      const said = rank < 3 ? entry.name : entry.name ? `${entry.name}: ${entry.more}` : entry.more.trim();
      const item = make("li", { role: "option", "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); take(item); } },
        make("small", {}, entry.note), said);
      item.entry = entry;
      return item;
    });
    shown.forEach((item, i) => (item.id = `hit-${i}`));
    found.replaceChildren(...shown);
    if (word && !shown.length) found.append(make("li", {}, "nothing found"));
    found.hidden = !word;
    search.ariaExpanded = String(!found.hidden);
    if (shown.length) propose(shown[0]);
  }

  function propose(item) {
    for (const other of found.children) other.ariaSelected = "false";
    item.ariaSelected = "true";
    search.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  }

  function take(item) {
    found.hidden = true;
    search.ariaExpanded = "false";
    search.blur();
    item?.entry?.go();
  }

  search.addEventListener("input", seek);
  search.addEventListener("focus", seek);
  search.addEventListener("blur", () => { found.hidden = true; search.ariaExpanded = "false"; });
  search.addEventListener("keydown", (event) => {
    const now = find("[aria-selected=true]", found);
    const next = { ArrowDown: now?.nextElementSibling, ArrowUp: now?.previousElementSibling }[event.key];
    if (next) { event.preventDefault(); propose(next); }
    else if (event.key === "Enter") take(now);
    else if (event.key === "Escape") { search.value = ""; search.blur(); }
    event.stopPropagation();
  });

  // --- keys

  const keys = {
    "/": () => search.focus(), n: () => walk(1), p: () => walk(-1), t: turnTheme, "?": () => find("#help").showModal(),
    e: () => showTab(state.tab === "details" ? "equations" : "details"),
    s: () => turn(facts.stages.indexOf(stage) + 1), S: () => turn(facts.stages.indexOf(stage) - 1),
    "+": zooms.in, "=": zooms.in, "-": zooms.out, 0: zooms.fit, Escape: () => { choose([]); point([], null); },
  };
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("#help").open) return;
    const active = document.activeElement;
    if (active === choice && event.key !== "Escape") return;
    if (event.key in moves && canvas.contains(active)) pan(...moves[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && active.getAttribute?.("role") === "button" && stage.marks[active.id]) pick(active);
    else if (/^[1-9]$/.test(event.key) && stage.players[event.key - 1]) light(event.key - 1);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });

  // --- the stage: its diagram, its players and its steps come to their places

  const games = all("template.stage").map((template) => [...template.content.children]);
  games.push(["players", "picture", "steps"].map((id) => find(`#${id}`)));
  const choice = find("#stage");
  choice?.addEventListener("change", () => turn(choice.selectedIndex));

  // All that may be chosen, by kind.
  const kinds = { player: "players", network: "networks", phase: "phases", loss: "losses", value: "values", call: "calls in place",
    input: "inputs", draw: "draws", average: "averages", state: "states", constant: "constants", size: "sizes" };
  const links = (kind) => known.flatMap((thing, n) => (thing.kind === kind ? [", ", [thing.name, [n]]] : [])).slice(1);
  const index = find("#overview").insertBefore(make("div"), find("#overview").firstChild);

  function enter(number) {
    for (const part of games[number]) find(`#${part.id}`).replaceWith(part);
    stage = facts.stages[number];
    known.length = 0;
    for (const [n, thing] of stage.things) known[n] = facts.things[thing];
    picture = find("#picture");
    const fitted = String(view) === String(whole);
    whole = (picture.dataset.whole ??= picture.getAttribute("viewBox")).split(" ").map(Number);
    setView(fitted ? whole : view);
    mark();
    if (choice) choice.selectedIndex = number;
    const rows = Object.entries(kinds).map(([kind, label]) => [label, links(kind)]);
    index.replaceChildren(list([...stage.rows, ...rows.filter(([, said]) => said.length)]));
    const begin = stage.steps.flatMap((stop) => stop.moments.flatMap((m) => m.lines))[0];
    if (begin) scrollTo(panes.program, [[program, begin, begin]]); // behind what all programs share
  }

  // To another stage, where what is chosen, lit or stepped to is so still, if it is there.
  function turn(number) {
    if (!facts.stages[number] || facts.stages[number] === stage) return;
    const [player, stop] = [stage.players[state.player]?.name, stage.steps[state.step]?.name];
    illuminate({});
    point([], null);
    clear("chosen", "lit", "near");
    enter(number);
    state.chosen = state.chosen.filter((n) => known[n]);
    state.member = Math.min(state.member, Math.max(0, state.chosen.length - 1));
    state.player = stage.players.findIndex(({ name }) => name === player);
    state.step = stage.steps.findIndex(({ name }) => name === stop);
    if (!stage.steps[state.step]?.moments[state.moment]) state.step = -1;
    render();
  }

  enter(games.length - 1);
  // A diagram that is illegible as a whole begins at its players.
  if (picture.getScreenCTM().a < 0.3) reveal(groups.get(stage.players[0]?.mark) ?? picture);
  restore();
})();
