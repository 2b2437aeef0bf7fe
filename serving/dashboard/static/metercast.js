// Small helps for the pages: forms that send themselves, verdicts on anomalies, and the live page.
"use strict";

for (const form of document.querySelectorAll("form[data-auto]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

for (const group of document.querySelectorAll("[data-anomaly]")) {
  group.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const answer = await fetch(`/v1/anomalies/${encodeURIComponent(group.dataset.anomaly)}/feedback`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": group.dataset.csrf },
      body: JSON.stringify({ verdict: button.value }),
    });
    const said = group.querySelector("[role=status]");
    if (!answer.ok) {
      said.textContent = (await answer.json()).detail;
      return;
    }
    for (const one of group.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === button));
    said.textContent = "Kept, thank you.";
  });
}

const live = document.querySelector("[data-live]");
if (live) follow(live);

function follow(table) {
  const windows = new Map(JSON.parse(table.dataset.recent));
  const length = Number(table.dataset.window);
  const source = new EventSource(table.dataset.live);
  const state = document.getElementById("live-state");
  if (windows.size) draw(windows, Math.max(...windows.keys()), length);
  source.onopen = () => { state.textContent = "Connected; waiting for the next window."; };
  source.onerror = () => { state.textContent = "The connection is lost; trying again."; };
  source.addEventListener("window", (message) => {
    const data = JSON.parse(message.data);
    const start = Date.parse(data.start) / 1000;
    const events = data.operations.reduce((sum, one) => sum + one.events, 0);
    windows.set(start, events);
    for (const old of windows.keys()) if (old < start - 90 * length) windows.delete(old);
    document.getElementById("live-events").textContent = events.toLocaleString("en");
    state.textContent = `Window of ${data.start.slice(11, 19)} UTC.`;
    table.tBodies[0].replaceChildren(...data.operations.sort((a, b) => b.events - a.events).map(row));
    draw(windows, start, length);
  });
  source.addEventListener("status", (message) => {
    const engine = JSON.parse(message.data);
    for (const place of document.querySelectorAll("[data-engine]")) place.textContent = engine[place.dataset.engine];
  });
  source.addEventListener("anomaly", (message) => told(JSON.parse(message.data)));
}

function row(one) {
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = one.operation_id;
  const cells = [one.events, one.executions, one.cpu_cycles / 1e6, one.network_bytes / 1e3, one.disk_bytes / 1e3];
  line.append(name, ...cells.map((value) => {
    const cell = document.createElement("td");
    cell.className = "number";
    cell.textContent = value.toLocaleString("en", { maximumFractionDigits: 1 });
    return cell;
  }));
  return line;
}

function draw(windows, last, length) {
  const chart = document.getElementById("live-chart");
  const top = Math.max(...windows.values(), 1);
  const bars = [...windows].map(([start, events]) => {
    const height = (events / top) * 136;
    const x = 752 - ((last - start) / length) * 8.4;
    return shape("rect", { class: "bar-mark", x, y: 158 - height, width: 6.6, height });
  });
  const most = shape("text", { class: "soft", x: 0, y: 12 }, `${top.toLocaleString("en")} events`);
  const first = shape("text", { class: "soft", x: 0, y: 174 }, "90 windows ago");
  const now = shape("text", { class: "soft", x: 760, y: 174, "text-anchor": "end" }, "now");
  const base = shape("line", { class: "grid", x1: 0, x2: 760, y1: 158, y2: 158 });
  const ceiling = shape("line", { class: "grid", x1: 0, x2: 760, y1: 21, y2: 21 });
  chart.replaceChildren(ceiling, base, ...bars, most, first, now);
}

function shape(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = text;
  return made;
}

function told(anomaly) {
  const list = document.getElementById("live-anomalies");
  let item = document.getElementById(`live-${anomaly.id}`);
  if (!item) {
    for (const empty of list.querySelectorAll(".soft")) empty.remove();
    item = document.createElement("li");
    item.id = `live-${anomaly.id}`;
    list.prepend(item);
  }
  const cost = anomaly.cost ? `; ${Number(anomaly.cost).toPrecision(2)} ${anomaly.currency}` : "";
  item.textContent = `${anomaly.started.slice(11, 19)} UTC: ${anomaly.reason}${cost}${anomaly.ended ? "" : " so far"}`;
}
