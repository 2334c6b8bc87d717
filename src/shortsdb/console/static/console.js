// Every time is shown in UTC; its title says it in the reader's own time zone.
const own = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.getTime())) {
    time.title = own.format(moment);
  }
}

// A chart is drawn from the table below it, which is also its text: names are read as text, and
// drawn on a canvas.
const charts = [];

function draw(table) {
  const figure = table.closest("figure");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const cells = (row) => [...row.cells].map((cell) => cell.textContent.trim());
  const [, ...labels] = cells(table.tHead.rows[0]);
  const datasets = [...table.tBodies[0].rows].map((row, number) => {
    const [label, ...values] = cells(row);
    return {
      label,
      data: values.map((value) => Number(value.replaceAll(",", ""))),
      borderColor: colour(`--c${number % 8}`),
      backgroundColor: colour(`--c${number % 8}`),
      borderDash: number < 8 ? [] : [6, 4],
    };
  });
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent}; the table below has the numbers`);
  figure.querySelector(".chart").replaceChildren(canvas);
  const bars = table.dataset.chart === "bar";
  const axis = { stacked: bars, grid: { color: colour("--line") }, ticks: { color: colour("--quiet") } };
  charts.push(
    new Chart(canvas, {
      type: table.dataset.chart,
      data: { labels, datasets },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: { x: { ...axis, grid: { display: false } }, y: { ...axis, beginAtZero: true } },
        plugins: { legend: { position: "bottom", labels: { color: colour("--text"), boxWidth: 14 } } },
      },
    }),
  );
}

function drawAll() {
  for (const chart of charts.splice(0)) {
    chart.destroy();
  }
  document.querySelectorAll("table[data-chart]").forEach(draw);
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
