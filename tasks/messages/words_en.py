"""The words of announcements in English. Each sentence is whole, so that a translation may reorder
it."""

WORDS = {
    "not known": "not known",
    "none": "none",
    "unknown share": "an unknown share",
    "interval": "{low} – {high}",
    "stage.start": "start",
    "stage.gate": "gate",
    "stage.contest": "contest",
    "stage.deploy": "deploy",
    # start
    "retrain.started": "{use_case}: retrain started: {reason}",
    "retrain.skipped": "{use_case}: retrain skipped: {reason}",
    "retrain.ended": "{use_case}: retrain ended: {outcome}",
    "ingest.refused": "{use_case}: the batch of {period} was refused and nothing was written",
    "training.started": "{use_case}: training started on {window}, judged on {holdout}",
    "training.step": "trained on {window}, {rows:,} rows",
    "candidates": "candidates",
    "training rows": "training rows",
    "dataset version": "dataset version",
    # gate
    "gate.passed": (
        "{use_case}: {best} scores {metric} {score} on {holdout}: it passes the gate of {gate:g}"
    ),
    "gate.missed.hpo": (
        "{use_case}: {best} scores {metric} {score} on {holdout}: it misses the gate of {gate:g}, "
        "so HPO starts"
    ),
    "gate.missed": (
        "{use_case}: {best} scores {metric} {score} on {holdout}: it misses the gate of {gate:g}, "
        "and no candidate has a search space, so no challenger is registered"
    ),
    "gate.passed.step": "{best}: {metric} {score}, gate {gate:g}",
    "gate.missed.step": "{best}: {metric} {score}, misses the gate of {gate:g}",
    "gate.hpo.step": "{best}: {metric} {score}, misses the gate of {gate:g}; HPO runs",
    "hpo.passed": (
        "{use_case}: HPO found {candidate} with {metric} {after} (was {before}); it passes the "
        "gate of {gate:g}"
    ),
    "hpo.missed": (
        "{use_case}: HPO found {candidate} with {metric} {after} (was {before}); it still misses "
        "the gate of {gate:g}"
    ),
    "hpo.none": "No challenger is registered. The champion, if there is one, keeps serving.",
    "hpo.passed.step": "{candidate}: {metric} {after} after HPO, gate {gate:g}",
    "hpo.missed.step": "{candidate}: {metric} {after} after HPO, misses the gate of {gate:g}",
    "search": "search",
    # contest
    "first": (
        "{use_case}: challenger v{version} ({candidate}) becomes the first champion with {metric} "
        "{score}, gate {gate:g}"
    ),
    "first.provisional": (
        "{use_case}: challenger v{version} ({candidate}) becomes the first champion, "
        "provisionally, on too little evidence, with {metric} {score}, gate {gate:g}"
    ),
    "first.provisional.step": "challenger v{version} becomes the first champion, provisionally",
    "first.step": "challenger v{version} becomes the first champion",
    "contest.promote": (
        "{use_case}: challenger v{challenger} beats champion v{champion} ({metric}: {scores})"
    ),
    "contest.keep": (
        "{use_case}: challenger v{challenger} is not promoted; {kept} ({metric}: {scores})"
    ),
    "contest.suspicious": (
        "{use_case}: challenger v{challenger} is refused because it looks like a leak; {kept} "
        "({metric}: {scores})"
    ),
    "contest.unfair": (
        "{use_case}: challenger v{challenger} is refused because the contest would be unfair; "
        "{kept} ({metric}: {scores})"
    ),
    "contest.inconclusive": (
        "{use_case}: too little data to judge challenger v{challenger}; {kept} ({metric}: {scores})"
    ),
    "contest.promote.asks": (
        "{use_case}: challenger v{challenger} beats champion v{champion}, and a person must "
        "approve it ({metric}: {scores})"
    ),
    "contest.suspicious.asks": (
        "{use_case}: challenger v{challenger} looks like a leak, so a person must decide; {kept} "
        "so far ({metric}: {scores})"
    ),
    "contest.unfair.asks": (
        "{use_case}: challenger v{challenger} cannot be compared, so a person must decide; {kept} "
        "so far ({metric}: {scores})"
    ),
    "contest.promote.step": "challenger v{challenger} wins",
    "contest.keep.step": "challenger v{challenger} is not promoted",
    "contest.suspicious.step": "it looks like a leak",
    "contest.unfair.step": "refused: the contest would be unfair",
    "contest.inconclusive.step": "too little data",
    "kept": "champion v{champion} keeps the crown",
    "no champion": "there is still no champion",
    "scores": "challenger {challenger}, champion {champion}",
    "score alone": "challenger {challenger}",
    "challenger": "challenger v{challenger}",
    "champion": "champion v{champion}",
    "gain": "gain",
    "gain.within": "{gain}, interval {interval}, each bound at {confidence:.4g} %",
    "decidable": "would find a gain of",
    "judged on": "judged on",
    "rows": "{rows:,} rows",
    "rows.blocks": "{rows:,} rows in {blocks} blocks",
    "contest.picture": "Gain of the challenger",
    "contest.picture.alt": (
        "The gain against zero, with its interval: {gain}. Right of the line the challenger is "
        "better."
    ),
    # approval
    "approval.asked": (
        "{use_case}: may challenger v{challenger} take the crown? No answer within {hours:g} "
        "hours counts as a no"
    ),
    "approval.contest": "contest",
    "approval.crown": "current champion",
    "approval.nobody": "none yet",
    "approval.waits.step": "waiting for approval",
    "approval.otherwise": (
        "Answer on the page of the approve run in Prefect (Resume), or on the service's page."
    ),
    "approval.approve": "Approve",
    "approval.reject": "Reject",
    "approval.sure": "Crown challenger v{challenger}?",
    "approval.sure.text": "It is refitted with the newest rows and then serves {use_case}.",
    "not now": "Not now",
    "approval.approved": (
        "{use_case}: {by} approved challenger v{challenger}; it is refitted and crowned"
    ),
    "approval.rejected": "{use_case}: challenger v{challenger} is rejected; {kept}",
    "approval.expired": (
        "{use_case}: nobody answered about challenger v{challenger}, so it is rejected; {kept}"
    ),
    "approval.approved.step": "approved by {by}",
    "approval.rejected.step": "rejected",
    "approval.expired.step": "nobody answered in time",
    # deploy
    "deployed": (
        "{use_case}: version {version} serves after {seconds:.1f} s, and {smoke_rows} smoke "
        "requests passed"
    ),
    "deployed.step": "version {version} serves after {seconds:.1f} s",
    "refitted": (
        "Version {version} is the recipe of challenger v{challenger}, fitted again once it was "
        "chosen, with the rows of the hold-out ({holdout}) too."
    ),
    "deployed.otherwise": (
        "To go back to version {champion}: the deployment rollback/{use_case} in Prefect, or the "
        "service's page."
    ),
    "rollout": "{use_case}: rollout of version {version}: {verdict}",
    "rollout.picture": "Gain in front of real traffic",
    "rollout.stays": "Version {champion} stays champion.",
    "rollout.otherwise": (
        "To steer it: the deployment rollout/{use_case} in Prefect, or the service's page."
    ),
    "rollout.advance": "Next step",
    "rollout.advance.sure": (
        "Version {version} goes to the next step now, without waiting for its judgement."
    ),
    "rollout.hold": "Hold",
    "rollout.resume": "Resume",
    "rollout.revert": "Revert",
    "rollout.revert.sure": (
        "The rollout of version {version} ends, and champion {champion} answers all."
    ),
    "rollback.button": "Roll back",
    "rollback.sure": "Roll back to version {champion}?",
    "rollback.sure.text": (
        "Laurel checks that version {champion} loads and answers. Then it serves {use_case} "
        "instead of version {version}."
    ),
    "deployment.failed": (
        "{use_case}: deployment of version {version} failed; the alias is back at version "
        "{restored}"
    ),
    "deployment.failed.first": (
        "{use_case}: deployment of version {version} failed; the alias is removed, and there "
        "is no earlier champion"
    ),
    "deployment.failed.step": "version {version} is not in service",
    "rolled back": "{use_case}: rolled back from version {from_version} to version {version}",
    "rolled back.after": "{sentence}; it serves after {seconds:.1f} s",
    "adopted": (
        "{use_case}: version {version} was made champion by hand, without a contest (before: "
        "{before})"
    ),
    "vacated": (
        "{use_case}: {by} left the crown vacant (before: {before}); the gate alone judges "
        "the next champion"
    ),
    "restored": "{use_case}: the alias of champion {version} was deleted by hand and is set again",
    # drift
    "drift.stable": "{use_case}: no drift in {window}",
    "drift.drifted": "{use_case}: the data drifted in {window}",
    "drift.broken": "{use_case}: the data are broken, so nothing is retrained ({window})",
    "drift.inconclusive": "{use_case}: no verdict on drift in {window}",
    "drift.measured": (
        "{sentence}, {share} of what the model uses is beyond its threshold (limit {limit})"
    ),
    "drift.quarantined": (
        "The window is in quarantine: no decision uses it until a later check finds it sound."
    ),
    "drift.word.said": "said",
    "drift.word.unjudged": "unjudged",
    "drift.word.uncalibrated": "uncalibrated",
    "drift.advice.stable": "To do: nothing.",
    "drift.advice.noted": "To do: look at what is said here; the verdict is stable.",
    "drift.advice.drifted": (
        "To do: nothing yet. A retrain starts by itself, unless the retrain policy holds it back."
    ),
    "drift.advice.presence": (
        "To do: ask whether the categories changed on purpose. No retrain starts by itself."
    ),
    "drift.advice.broken": (
        "To do: repair the source of these columns, then check the window again."
    ),
    "drift.advice.inconclusive": "To do: check again when there are more predictions.",
    "drift.advice.silent": "To do: find out why no predictions reach the lake.",
    "drift.columns": "drifted columns",
    "scores.drifted": "{use_case}: rows of {window} drifted, which version {version} scored",
    "scores.broken": "{use_case}: rows of {window} are broken, which version {version} scored",
    "scores.advice": "To do: look at these columns before you use the scores.",
    "drift.picture": "Drift by column, {window}",
    "drift.picture.alt": (
        "Each column's distance as a multiple of its threshold. Beyond the line: {columns}."
    ),
    "performance.worse": (
        "{use_case}: the champion performs worse in {window} than on its hold-out: {metric} {value}"
    ),
    "performance.holdout": "hold-out interval",
    "performance.coverage": "labels arrived for",
    "coverage.fewer": (
        "{use_case}: the intervals of the answers of {window} held {held} of the labels, less than "
        "the promised {promised}"
    ),
    "coverage.more": (
        "{use_case}: the intervals of the answers of {window} held {held} of the labels, more than "
        "the promised {promised}"
    ),
    "coverage.windows": "windows in a row",
    "coverage.advice": "To do: retrain, so that they are calibrated on newer rows.",
    "silent": "{use_case}: no predictions to check for drift",
    # the rest
    "flow run": "flow run",
    "flow failed": "{use_case}: flow {flow} failed: {error}",
    "run cancelled": "{use_case}: flow {flow} was cancelled",
    "ledger accepted": (
        "{use_case}: {by} accepted the ledger as it stands, with {faults} faults; flows write to "
        "it again"
    ),
    "breaker closed": (
        "{use_case}: {by} closed the breaker after {rejections} rejected challengers; automatic "
        "retrains may start again"
    ),
    "tidied.removed": "{use_case}: tidied up. Removed: {what}",
    "tidied.announced": "{use_case}: from tomorrow on, tidy removes: {what}",
    "tidied.later": "From tomorrow on: {what}",
    "tidied.keep": "To keep it longer, set {settings} (0: forever) and apply the deployments.",
    "tidied.results": "results of steps",
    "tidied.report_pages": "pages of drift reports",
    "tidied.runs": "flow runs",
    "tidied.studies": "records of searches",
    "tidied.predictions": "days of predictions",
    "tidied.feedback": "days of feedback",
    "tidied.challengers": "packages that never served",
}
