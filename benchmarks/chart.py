"""A run as a picture: one panel for each kind of work, one bar for each program, as SVG that is written by hand."""

from xml.sax.saxutils import escape

from benchmarks.modes import Mode
from benchmarks.programs import OURS
from benchmarks.report import figure
from benchmarks.results import Results

WIDTH = 960
COLUMNS = 3
MARGIN = 24
GAP = 28
TOP = 76
"""Where the first panel begins."""
HEAD = 40
"""From the top of a panel to its first bar."""
STEP = 18
"""From one bar to the next."""
BAR = 12
NAMES = 108
"""The width of the programs' names."""
FIGURES = 76
"""The width of what stands behind the longest bar."""
PANEL = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #4b5563 }
  .paper { fill: #ffffff }
  .title { font-size: 18px; font-weight: 600; fill: #111827 }
  .panel { font-weight: 600; fill: #111827 }
  .unit { font-size: 11px; fill: #6b7280 }
  .name { text-anchor: end }
  .ours { fill: #111827; font-weight: 600 }
  .bar { fill: #b6bfcb }
  .bar.own { fill: #2563eb }
  .figure { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round }
  .rule { stroke: #2563eb; stroke-opacity: 0.35; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #b1bac4 }
    .paper { fill: #0d1117 }
    .title, .panel, .ours { fill: #f0f6fc }
    .unit { fill: #8b949e }
    .bar { fill: #444c56 }
    .bar.own { fill: #4493f8 }
    .figure { stroke: #0d1117 }
    .rule { stroke: #4493f8 }
  }
"""


def draw(results: Results) -> str:
    """The picture."""
    modes, names = results.modes, results.names
    height = HEAD + STEP * len(names)
    rows = -(-len(modes) // COLUMNS)
    total = TOP + rows * (height + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" '
        'role="img" aria-labelledby="title description">',
        '<title id="title">What TLS costs: aiotls beside other programs</title>',
        f'<desc id="description">{escape(_description(results))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{total}" rx="8"/>',
        f'<text class="title" x="{MARGIN}" y="36">What TLS costs: CPU time for each unit of work</text>',
        f'<text x="{MARGIN}" y="56">Shorter is better. In brackets: as a multiple of {escape(OURS)} on asyncio’s own '
        "loop, which the dotted line marks.</text>",
    ]
    for number, mode in enumerate(modes):
        row, column = divmod(number, COLUMNS)
        x, y = MARGIN + column * (PANEL + GAP), TOP + row * (height + GAP)
        parts += [f'<g transform="translate({x:.1f} {y})">', *_panel(results, mode, names), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(results: Results, mode: Mode, names: list[str]) -> list[str]:
    summaries = {name: results.summary(mode, name) for name in names}
    costs = {name: summary.cost for name, summary in summaries.items() if summary and summary.cost is not None}
    most = max(costs.values(), default=0) or 1
    room = PANEL - NAMES - FIGURES
    parts = [
        f'<text class="panel" y="14">{escape(mode.title)}</text>',
        f'<text class="unit" y="29">{escape(mode.unit.name)}</text>',
    ]
    if OURS in costs:
        x = NAMES + room * costs[OURS] / most
        bottom = HEAD + STEP * len(names) - (STEP - BAR)
        parts.append(f'<line class="rule" x1="{x:.1f}" y1="{HEAD - 3}" x2="{x:.1f}" y2="{bottom + 3}"/>')
    for number, name in enumerate(names):
        y = HEAD + number * STEP
        ours = " ours" if name.startswith(OURS) else ""
        parts.append(f'<text class="name{ours}" x="{NAMES - 6}" y="{y + 10}">{escape(name)}</text>')
        summary = summaries[name]
        if name not in costs or summary is None:
            if summary is not None:
                parts.append(f'<text class="unit" x="{NAMES}" y="{y + 10}">no figure</text>')
            continue
        length = max(1.0, room * costs[name] / most)
        own = " own" if ours else ""
        parts.append(f'<rect class="bar{own}" x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>')
        words = figure(costs[name] * mode.unit.scale)
        if summary.ratio is not None and name != OURS:
            words += f" ({summary.ratio:.2f})"
        parts.append(f'<text class="figure{ours}" x="{NAMES + length + 5:.1f}" y="{y + 10}">{words}</text>')
    return parts


def _description(results: Results) -> str:
    """The same in words, for who cannot see it: ours, and everybody's multiple of it."""
    sentences = []
    for mode in results.modes:
        costs = []
        for name in results.names:
            summary = results.summary(mode, name)
            if summary and summary.cost is not None:
                costs.append(f"{name} {figure(summary.cost * mode.unit.scale)}")
        sentences.append(f"{mode.title}, in {mode.unit.name}: {', '.join(costs) or 'no figure'}.")
    return " ".join(sentences)
