"use strict";
(() => {
  const table = JSON.parse(document.getElementById("rows").textContent);
  const body = document.querySelector("#images tbody");
  const heads = [...document.querySelectorAll("#images th")];
  const more = document.getElementById("more"), count = document.getElementById("count");
  const step = 200;
  let shown = step, order = table.rows.map((_, i) => i), words = "";

  const text = (value, column) => value === null ? "–" : typeof value === "string" ? value
    : value.toFixed(table.names[column] === "hd95" ? 2 : 4);

  function draw() {
    const wanted = order.filter(i => table.rows[i][0].toLowerCase().includes(words));
    const rows = wanted.slice(0, shown).map(i => {
      const row = document.createElement("tr");
      table.rows[i].forEach((value, column) => {
        const cell = row.appendChild(document.createElement("td"));
        cell.textContent = text(value, column);
        if (column === 0) cell.title = value;
      });
      return row;
    });
    body.replaceChildren(...rows);
    more.hidden = wanted.length <= shown;
    count.textContent = `${Math.min(shown, wanted.length)} of ${wanted.length}`;
  }

  function sort(column) {
    const up = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : up ? "ascending" : "descending"));
    const missing = i => table.rows[i][column] === null;
    order.sort((a, b) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);  // what is not defined comes last both ways
      const x = table.rows[a][column], y = table.rows[b][column];
      const less = typeof x === "string" ? x.localeCompare(y, undefined, {numeric: true}) : x - y;
      return up ? less : -less;
    });
    draw();
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));
  document.getElementById("filter").addEventListener("input", event => {
    words = event.target.value.toLowerCase();
    shown = step;
    draw();
  });
  more.addEventListener("click", () => { shown += step; draw(); });

  // the slider wipes from one layer to the next: at 1.3 the second layer covers all, the third three tenths
  document.querySelectorAll(".piece").forEach(piece => {
    const slider = piece.querySelector("input"), layers = [...piece.querySelectorAll("img")];
    const stops = [...piece.querySelectorAll(".stops button")];
    const show = () => {
      const at = Number(slider.value);
      layers.forEach((layer, i) => {
        const part = Math.max(0, Math.min(1, at - i + 1));
        layer.style.clipPath = i === 0 || part === 1 ? "none" : `inset(0 ${100 - 100 * part}% 0 0)`;
      });
      stops.forEach((stop, i) => stop.setAttribute("aria-pressed", String(Math.round(at) === i)));
      slider.setAttribute("aria-valuetext", stops[Math.round(at)].textContent);
    };
    slider.addEventListener("input", show);
    document.querySelectorAll(".all button").forEach(button => button.addEventListener("click", () => {
      const at = stops.findIndex(stop => stop.textContent === button.textContent);  // a piece may lack the image
      if (at >= 0) { slider.value = at; show(); }
    }));
    stops.forEach((stop, i) => stop.addEventListener("click", () => { slider.value = i; show(); }));
    show();
  });
  draw();
})();
