// Lines that can be pointed at and switched off, tables that sort by a column.
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg[role=img]");
  const said = chart.querySelector("output");
  const dot = chart.querySelector(".dot");
  const units = JSON.parse(chart.dataset.units);
  const lines = [...chart.querySelectorAll("polyline")].map((line) => ({
    group: line.parentNode,
    name: line.dataset.name,
    xs: JSON.parse(line.dataset.xs),
    ys: JSON.parse(line.dataset.ys),
    at: line.getAttribute("points").split(" ")
      .map((corner) => corner.split(",").map(Number)),
  }));
  for (const button of chart.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      const name = `.lines[data-group="${button.dataset.group}"]`;
      chart.querySelector(name).classList.toggle("off", !on);
    });
  }
  svg.addEventListener("pointermove", (event) => {
    const mouse = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(svg.getScreenCTM().inverse());
    let best = { apart: 40 ** 2 };
    for (const line of lines) {
      if (line.group.classList.contains("off")) continue;
      line.at.forEach(([x, y], n) => {
        const apart = (x - mouse.x) ** 2 + (y - mouse.y) ** 2;
        if (apart < best.apart) best = { apart, line, n, x, y };
      });
    }
    dot.setAttribute("visibility", best.line ? "visible" : "hidden");
    if (!best.line) return;
    dot.setAttribute("cx", best.x);
    dot.setAttribute("cy", best.y);
    const { name, xs, ys } = best.line;
    said.textContent = `${name}: ${ys[best.n].toPrecision(5)} ${units[1]}`
      + ` at ${xs[best.n].toLocaleString("en")} ${units[0]}`;
  });
}

for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  const value = (row, n) => {
    const cell = row.cells[n];
    const text = cell.querySelector("data")?.value ?? cell.textContent;
    return text === "" ? NaN : Number.isNaN(Number(text)) ? text : Number(text);
  };
  table.querySelectorAll("thead button").forEach((button, n) => {
    button.addEventListener("click", () => {
      const head = button.parentNode;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("thead th")) {
        other.removeAttribute("aria-sort");
      }
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, n), value(b, n)];
        if (Number.isNaN(x) || Number.isNaN(y)) {  // what lacks comes last
          return Number.isNaN(x) - Number.isNaN(y);
        }
        const less = typeof x === typeof y ? x < y : typeof x === "number";
        return (up ? 1 : -1) * (less ? -1 : x === y ? 0 : 1);
      });
      body.append(...rows);
    });
  });
}
