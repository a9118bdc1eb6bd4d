# A tutorial for marimo: `marimo edit reactive.py`. Cells run again when what they need changes; so do stages.

import marimo

app = marimo.App()


@app.cell
def _():
    from orchestrator import pipeline, runs, stage

    return pipeline, runs, stage


@app.cell
def _(stage):
    @stage(cache="1d")
    def lines() -> list[str]:
        """The Zen of Python, without its title."""
        import codecs
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()):
            import this
        return [line for line in codecs.decode(this.s, "rot13").splitlines()[1:] if line]

    return (lines,)


@app.cell
def _(stage):
    UNLIKE = frozenset({"is", "the", "than", "to", "of", "be", "it", "a", "it's"})

    @stage(cache="1d")
    def words(line: str) -> list[str]:
        found = (word.strip(".,!*-").lower() for word in line.split())
        return [word for word in found if word and word not in UNLIKE]

    return (words,)


@app.cell
def _(stage):
    @stage(cache="1d")
    def most(words: list[list[str]], count: int) -> list[str]:
        from collections import Counter

        counted = Counter(word for line in words for word in line)
        return [word for word, _ in counted.most_common(count)]

    return (most,)


@app.cell
def _(lines, most, pipeline, words):
    @pipeline
    def zen(count: int = 3) -> list[str]:
        """The words that the Zen of Python likes best."""
        return most(words.map(lines()), count)

    zen
    return (zen,)


@app.cell
def _(zen):
    run = zen.run()
    run
    return (run,)


@app.cell
def _(run):
    result = run.result()
    result
    return (result,)


@app.cell
def _(run, zen):
    # Five words instead of three: the lines and their words are taken from the cache.
    plan = zen.plan(count=2 + len(run.result()))
    plan
    return (plan,)


@app.cell
def _(run, runs):
    step = runs[run.id]["words", 3]
    step
    return (step,)


if __name__ == "__main__":
    app.run()
