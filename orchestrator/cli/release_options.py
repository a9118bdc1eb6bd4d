"""Options of ``orc release`` and its neighbours: what each is called, and what its help says."""

from __future__ import annotations

from typing import Annotated

import typer

App = Annotated[str, typer.Argument(metavar="APP", help="name of the application, also part of its URL")]
KeepTags = Annotated[bool, typer.Option("--keep-tags", help="leave stage and aliases where they are")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="model:NAME, then @v3 or @TAG")]
How = Annotated[str, typer.Option("--how", metavar="canary|blue-green|shadow|ab", help="how requests move")]
Steps = Annotated[str, typer.Option("--steps", metavar="PERCENT,…", help="of the requests, at each step of a canary")]
Bake = Annotated[str, typer.Option("--bake", metavar="DURATION", help="each step is watched at least so long")]
RollbackIf = Annotated[
    str, typer.Option("--rollback-if", metavar="LIMITS", help="such as 'error_rate > 0.01 or p95_ms > 80'")
]
MinSamples = Annotated[
    int, typer.Option("--min-samples", metavar="N", help="requests without which a step does not end")
]
Patience = Annotated[
    str, typer.Option("--patience", metavar="DURATION", help="how long a step waits for those after its bake")
]
Replicas = Annotated[int, typer.Option("--replicas", metavar="N", help="of the new version")]
MaxReplicas = Annotated[
    int, typer.Option("--max-replicas", metavar="N", help="as many there may be if there is much to do")
]
NumGpus = Annotated[float, typer.Option("--num-gpus", metavar="N", help="of each replica, such as 0.25")]
MaxBatchSize = Annotated[
    int, typer.Option("--max-batch-size", metavar="N", help="requests answered in one call of the model")
]
CaptureFolder = Annotated[
    str, typer.Option("--capture", metavar="FOLDER", help="path or URL where requests and answers are kept")
]
CaptureShare = Annotated[
    float, typer.Option("--capture-share", metavar="SHARE", help="part of the requests that is kept, up to 1")
]
Metric = Annotated[str, typer.Option("--metric", metavar="NAME", help="that an A/B experiment is about")]
Split = Annotated[float, typer.Option("--split", metavar="PERCENT", help="of an A/B, for the new version")]
Better = Annotated[
    str, typer.Option("--better", metavar="higher|lower", help="whether more or less of the metric is good")
]
Horizon = Annotated[str, typer.Option("--horizon", metavar="DURATION", help="when an A/B ends without a difference")]
MinEffect = Annotated[
    float | None, typer.Option("--min-effect", metavar="X", help="smallest effect of an A/B that matters")
]
Slices = Annotated[
    list[str] | None, typer.Option("--slice", metavar="FIELD", help="of requests, to tell an A/B's effect by")
]
Stage = Annotated[
    str | None,
    typer.Option(
        "--stage",
        metavar="production|staging|dev",
        envvar="ORC_RELEASE_STAGE",
        help="where the version has to stand; production, once any version of the model was promoted",
    ),
]
Sample = Annotated[
    str | None, typer.Option("--sample", metavar="VERSION", help="data:NAME with rows to ask the model with before")
]
MaxP99Ms = Annotated[float, typer.Option("--max-p99-ms", metavar="MS", help="limit of the time for one row")]
MaxSizeMib = Annotated[float, typer.Option("--max-size-mib", metavar="MIB", help="limit of the size of the model")]
Force = Annotated[bool, typer.Option("--force", help="past its stage and unsound; needs --why")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="the reason, which is recorded")]
Alias = Annotated[
    str, typer.Option("--alias", metavar="TAG", help="that the model gets when it answers all, such as champion")
]
Beside = Annotated[
    list[str] | None, typer.Option("--with", metavar="VERSION", help="data:NAME@v7 that gets this tag at once")
]
