"""What came from what, over runs, from their records alone."""

from __future__ import annotations

from orchestrator.graph.node import Const, Guard, ListExpr, Node, Ref
from orchestrator.readers.lineage import Column, Deployed, Lineage, RunLineage, StepLineage, needs_of, step_key

PATH, NOISE = Column("path", "string"), Column("noise", "double")


def two_runs() -> Lineage:
    """One run makes data of a file; another a model of that data, and serves it; a third thing hangs beside."""
    lineage = Lineage()
    lineage.add(
        RunLineage(
            "r1", "ingest", "", {"a.csv": "d" * 64},
            [
                StepLineage("load", "m:load", "f1", files=("a.csv",), columns=(PATH, NOISE)),
                StepLineage("clean", "m:clean", "f2", needs=("load",), publishes=("data:a@v1",), columns=(PATH,)),
                StepLineage("other", "m:other", "f3"),
            ],
        )
    )  # fmt: skip
    lineage.add(
        RunLineage(
            "r2", "train", "", {},
            [
                StepLineage("fit", "m:fit", "f4", versions=("data:a@v1",), publishes=("model:a@v1",)),
                StepLineage("table", "m:table", "f5", needs=("fit",), columns=(PATH, NOISE)),
                StepLineage("gate", "m:gate", "f6", needs=("fit",)),
                StepLineage("release", "m:release", "f7", needs=("fit",), decided_by=("gate",),
                            deployed=Deployed("churn", "abc", "promoted")),
            ],
        )
    )  # fmt: skip
    return lineage


def titles(lineage: Lineage) -> set[str]:
    return {vertex.title for vertex in lineage.vertices.values() if vertex.kind != "code"}


def test_a_model_leads_to_its_file_and_to_what_it_was_deployed_as() -> None:
    lineage = two_runs()
    up, down = (lineage.around(["model:a@v1"], up=one, down=not one) for one in (True, False))
    assert titles(up) == {"model:a@v1", "fit", "data:a@v1", "clean", "load", "a.csv"}
    assert titles(down) == {"fit", "model:a@v1", "table", "gate", "churn abc"}  # taken from the step that made it
    assert titles(lineage.around([step_key("r2", "fit")], up=False)) == titles(down)


def test_data_leads_to_the_deployments_behind_it_and_not_to_what_stands_beside() -> None:
    found = two_runs().around(["data:a@v1"])
    assert "churn abc" in titles(found)
    assert "other" not in titles(found)


def test_code_comes_with_the_steps_that_are_left_or_not_at_all() -> None:
    lineage = two_runs()
    assert {v.title for v in lineage.around(["data:a@v1"], down=False).vertices.values() if v.kind == "code"} == {
        "m:load", "m:clean"
    }  # fmt: skip
    assert all(v.kind != "code" for v in lineage.around(["data:a@v1"], code=False).vertices.values())


def test_code_leads_to_what_was_made_with_it() -> None:
    assert "data:a@v1" in titles(two_runs().around(["code m:clean@f2"], up=False))


def test_columns_are_followed_by_name_to_the_nearest_table() -> None:
    lineage = two_runs()
    clean = {one.column.name: one for one in lineage.columns(step_key("r1", "clean"))}
    assert clean["path"].sources == (step_key("r1", "load"),)
    assert clean["path"].targets == (step_key("r2", "table"),)  # through the version and the model, which are no tables
    load = {one.column.name: one for one in lineage.columns(step_key("r1", "load"))}
    assert (load["noise"].sources, load["noise"].targets) == ((), ())  # dropped by clean: what comes later is another


def test_wiring_is_looked_through_and_gates_decide() -> None:
    nodes = {
        "a": Node("a", "stage"),
        "b": Node("b", "stage"),
        "branch": Node("branch", "branch", args={"value": Ref("a", ("passed",))}),
        "then": Node("then", "stage", args={"x": ListExpr((Ref("b"), Const(1)))}, guards=(Guard("branch", True),)),
        "choice": Node("choice", "choice", args={"branch": Ref("branch"), "then": Ref("then")}),
        "last": Node("last", "stage", args={"x": Ref("choice")}),
    }
    assert needs_of(nodes["then"], nodes) == (("b",), ("a",))
    assert needs_of(nodes["last"], nodes) == (("then",), ())


def test_a_deployment_that_does_not_say_what_it_is_has_the_name_of_its_step() -> None:
    lineage = Lineage()
    lineage.add(RunLineage("r", "p", "", {}, [StepLineage("expose", deployed=Deployed("", "", ""))]))
    assert lineage.vertices[step_key("r", "expose")].title == "expose"
