"""What was measured, as text, as Markdown and as a plot."""

# Beyond this many processors in use by others a run means little.
QUIET = 0.1


def number(value):
    return "-" if value is None else f"{value:.3g}"


def in_short(result):
    for word in ("missing", "error"):
        if word in result:
            return f"{word}: {result[word]}"
    return (f"{number(result['value'])} [{number(result['q1'])}, "
            f"{number(result['q3'])}], others took "
            f"{result['load']['other_processors']} processors")


def reaches(value, bound, better):
    return value >= bound if better == "higher" else value <= bound


def verdict(result, floor):
    """What a row's value comes to."""
    if "value" not in result:
        return "missing" if "missing" in result else "FAILED"
    if floor["floor"] is None:
        return ""
    if not reaches(result["value"], floor["floor"], floor["better"]):
        return "open"
    return ("aim" if reaches(result["value"], floor["aim"], floor["better"])
            else "floor")


def table(results, floors):
    """Markdown, one line per row."""
    lines = ["| id | what | value | quartiles | floor | aim | met | others |",
             "|---|---|---|---|---|---|---|---|"]
    for floor in floors:
        result = results["rows"].get(floor["id"])
        if result is None:
            continue
        measured = "value" in result
        lines.append("| " + " | ".join([
            f"`{floor['id']}`", floor["what"],
            number(result["value"]) if measured else "-",
            f"{number(result['q1'])} - {number(result['q3'])}"
            if measured else "-",
            number(floor["floor"]), number(floor["aim"]),
            verdict(result, floor),
            f"{result['load']['other_processors']:.2f}"]) + " |")
    return "\n".join(lines)


def notes(results):
    lines = []
    for row, result in results["rows"].items():
        text = [result[key] for key in ("missing", "error", "note")
                if key in result]
        if len(result.get("runs", [])) > 1:
            text.append("runs " + ", ".join(map(number, result["runs"])))
        if text:
            lines.append(f"- `{row}`: {'; '.join(text)}")
    return "\n".join(lines)


def document(results, floors, plot):
    load, here = results["load"], results["machine"]
    peers = "\n".join(
        f"- {peer}: {about}" for peer, about in results["peers"].items())
    missing = "".join(
        f"- {peer}: missing: {why}\n"
        for peer, why in results["missing"].items())
    warning = ""
    if load["other_processors"] + load["stolen_processors"] > QUIET:
        warning = ("\n**Other programs were running: these numbers are not this "
                   "machine's.**\n")
    if results["quick"] or results["rounds"] < 15:
        warning += "\n**Too few rounds to mean much.**\n"
    return f"""# What was measured

`./run bench --publish` writes this file; what the rows mean is in
bench/rows.py, floors and aims in bench/floors.json. A value is the median of
{results['rounds']} alternating rounds, of {results['runs']} run(s) the median
run's; `others` is how many processors other programs took meanwhile.
{warning}
- {here['processor']}, {here['cores']} cores, {here['memory_gib']} GiB, Linux
  {here['kernel']}, default congestion control {here['tcp']},
  {results['time']}
- {results['blas']}
- on average other programs took {load['other_processors']} processors and the
  host {load['stolen_processors']}, for {load['seconds']:.0f} s; the busiest that
  were there at the end: {load['busiest'] or 'none'}

{table(results, floors)}

![Each row as a part of its floor]({plot})

## Notes

{notes(results)}

## Compared with

{peers}
{missing}"""


def draw(results, floors, path):
    """Each row's value as a part of its floor, so that more is better."""
    # Debian's package; the rest of this file needs none.
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel

    drawn = [(floor, results["rows"][floor["id"]]) for floor in floors
             if floor["floor"] is not None
             and "value" in results["rows"].get(floor["id"], {})]

    def part(value, floor):
        if floor["better"] == "higher":
            return value / floor["floor"]
        return floor["floor"] / max(value, floor["floor"] / 100)

    figure, axes = pyplot.subplots(figsize=(9, 0.6 + 0.34 * max(len(drawn), 1)))
    for place, (floor, result) in enumerate(drawn):
        value = part(result["value"], floor)
        ends = sorted(part(result[q], floor) for q in ("q1", "q3"))
        met = value >= 1
        axes.barh(place, value, color="#4c78a8" if met else "#e45756",
                  height=0.6)
        axes.plot(ends, [place, place], color="black", linewidth=1.5)
        axes.plot(part(floor["aim"], floor), place, marker="d", markersize=6,
                  color="#f2a900", markeredgecolor="black", linestyle="none")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(drawn)), [floor["id"] for floor, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.25, 0.5, 0.75, 1, 1.5, 2, 4],
                    ["1/4", "1/2", "3/4", "floor", "1.5", "2", "4"])
    axes.set_xlim(0.2, 5)
    axes.set_xlabel("times its floor (bar), quartiles (line), aim (diamond)")
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write(results, floors, path):
    """The document, and the plot beside it."""
    plot = path.with_name("results.png")
    draw(results, floors, plot)
    path.write_text(document(results, floors, plot.name))
