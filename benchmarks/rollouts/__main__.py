"""Figures of docs/rollouts.md, in made-up worlds that are hard for them.

python -m benchmarks.rollouts                     all parts
python -m benchmarks.rollouts errors 2000         one part: errors, power, ab, labels, rewards,
                                                  guards, ratio or plan; in so many worlds each
python -m benchmarks.rollouts shadow 4            what a shadow costs a real service, in so many
                                                  rounds: two minutes
python -m benchmarks.rollouts quick               less than a minute; fails beyond a promise
"""

import sys

from benchmarks.rollouts import guards, looks, shadow

PARTS = {
    "errors": looks.errors,
    "power": looks.power,
    "plan": looks.plans,
    "ab": looks.against_ab,
    "labels": looks.late_labels,
    "rewards": looks.rewards,
    "guards": guards.reverts,
    "ratio": guards.ratios,
}
WORLDS, QUICK_WORLDS = 2000, 300


def main() -> int:
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "shadow":
        return shadow.run(int(sys.argv[2]) if len(sys.argv) > 2 else shadow.ROUNDS)
    worlds = int(sys.argv[2]) if len(sys.argv) > 2 else WORLDS
    if part == "quick":
        part, worlds = "", QUICK_WORLDS
    if part and part not in PARTS:
        print(f"{part!r} is no part: {', '.join([*PARTS, 'shadow', 'quick'])}.", file=sys.stderr)
        return 2
    broken = [
        promise for name, play in PARTS.items() if part in ("", name) for promise in play(worlds)
    ]
    for promise in broken:
        print(f"BROKEN: {promise}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
