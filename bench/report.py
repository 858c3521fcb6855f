"""What was measured, as text, as Markdown and as a plot."""

import re

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


def table(results):
    """Markdown, one line per row."""
    lines = ["| id | what | value | quartiles | floor | aim | met | others |",
             "|---|---|---|---|---|---|---|---|"]
    for floor in results["floors"]:
        result = results["rows"].get(floor["id"])
        if result is None:
            continue
        measured = "value" in result
        lines.append("| " + " | ".join([
            f"`{floor['id']}`", floor["what"] + (
                f" (in {result['clock']})" if "clock" in result else ""),
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


def name_of(results):
    """Of a processor with what computes on it: the same for the same bits."""
    here = results["machine"]
    return (f"{here['processor']} ({here['vendor']} family {here['family']} "
            f"model {here['model']}), {results['vector_target']}, OpenBLAS's "
            f"{results['blas_kernel']} kernel")


def slug_of(results):
    here = results["machine"]
    words = (here["vendor"], here["family"], here["model"],
             results["vector_target"], results["blas_kernel"])
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower())


def warning(results):
    """What makes these numbers worth less, a paragraph each; mostly nothing."""
    load, lines = results["load"], []
    if not results["yardstick_holds"]:
        lines.append("OpenBLAS falls below its own floor here "
                     "(sgemm_over_fma_peak): fractions of it mean nothing.")
    if load["other_processors"] + load["stolen_processors"] > QUIET:
        lines.append("Other programs were running: these numbers are not this "
                     "machine's.")
    if results["quick"] or results["rounds"] < 15:
        lines.append("Too few rounds to mean much.")
    return "".join(f"**{line}**\n\n" for line in lines)


def section(results, plot):
    """One processor's part of the document."""
    load, here = results["load"], results["machine"]
    peers = "\n".join(
        f"- {peer}: {about}" for peer, about in results["peers"].items())
    missing = "".join(
        f"- {peer}: missing: {why}\n"
        for peer, why in results["missing"].items())
    because = "".join(
        f"- the floor of `{floor['id']}` is {number(floor['floor'])} on this "
        f"instruction set: {floor['because']}\n"
        for floor in results["floors"] if "because" in floor)
    return f"""## {name_of(results)}

{warning(results)}- instruction set of our kernels {results['vector_target']}; {results['blas']}
- {here['cores']} cores, {here['memory_gib']} GiB, Linux {here['kernel']}, default
  congestion control {here['tcp']}, on loopback {here['loopback']};
  {results['time']}
- {results['rounds']} rounds, {results['runs']} run(s); on average other programs
  took {load['other_processors']} processors and the host {load['stolen_processors']},
  for {load['seconds']:.0f} s; the busiest that were there at the end:
  {load['busiest'] or 'none'}
{because}
{table(results)}

![Each row as a part of its floor]({plot})

### Notes

{notes(results)}

### Compared with

{peers}
{missing}"""


HEAD = """# What was measured

A section for each processor it was measured on, with the instruction set of our
kernels and the kernel of OpenBLAS that it ran; `./run bench --publish` writes
that of its machine and leaves the others. What the rows mean is in bench/rows.py,
floors and aims are in bench/floors.json. A value is the median of alternating
rounds, of several runs the median run's; `others` is how many processors other
programs took meanwhile. Rows of two threads are times by the clock, which
flatters whoever waits less for the other thread.

"""


def with_section(document, slug, text):
    """The document with that section in place of the one of its name, or at its
    end. Sections stand between lines of comments."""
    marked = f"<!-- {slug} -->\n{text.rstrip()}\n<!-- end of {slug} -->\n"
    old = re.compile(f"<!-- {slug} -->\n.*?<!-- end of {slug} -->\n", re.DOTALL)
    if old.search(document):
        return old.sub(lambda _: marked, document, count=1)
    return (document or HEAD).rstrip("\n") + "\n\n" + marked


def draw(results, path):
    """Each row's value as a part of its floor, so that more is better."""
    # Debian's package; the rest of this file needs none.
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel

    drawn = [(floor, results["rows"][floor["id"]])
             for floor in results["floors"]
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


def write(results, path):
    """This processor's section of the document at `path`, and its plot beside
    it."""
    slug = slug_of(results)
    plot = path.with_name(f"results-{slug}.png")
    draw(results, plot)
    document = path.read_text() if path.exists() else ""
    path.write_text(
        with_section(document, slug, section(results, plot.name)))
