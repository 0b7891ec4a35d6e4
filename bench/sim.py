"""How fast the simulator is: events a second, and virtual seconds a second, of one core with clients at work.

    python bench/sim.py [--seeds 20] [--repeats 3] [--profile default] [--top 0]

An event is what is popped from the heap, or handed to the machine. Time is this process's own CPU time, so that what
else runs on the machine counts as little as can be; each seed counts with the best of its repeats. With --top N
the N functions that take longest are shown, and each package's share.
"""

import argparse
import cProfile
import pstats
from collections import Counter

from rafka.sim.profile import PROFILES
from rafka.sim.run import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", default="default", choices=sorted(PROFILES))
    parser.add_argument("--top", type=int, default=0)
    args = parser.parse_args()
    profile = PROFILES[args.profile]
    run(0, profile, time_ms=500)  # codecs are made when first used
    if args.top:
        show_profile(profile, args.seeds, args.top)
        return
    events = virtual_s = real_s = acknowledged = read = 0.0
    for seed in range(1, args.seeds + 1):
        outcomes = [run(seed, profile) for _ in range(args.repeats)]
        best = min(outcomes, key=lambda outcome: outcome.real_s)
        assert len({outcome.trace_hash for outcome in outcomes}) == 1
        events += best.events
        virtual_s += best.virtual_ns / 1e9
        real_s += best.real_s
        acknowledged += best.checked.get("acknowledged", 0)
        read += best.checked.get("read", 0)
    print(
        f"{args.seeds} seeds of {args.profile}: {events:,.0f} events, {virtual_s:,.0f} virtual s, {real_s:.2f} s of CPU"
    )
    print(
        f"{events / real_s:,.0f} events/s, {virtual_s / real_s:,.0f} : 1, {events / virtual_s:,.0f} events a virtual s"
    )
    print(
        f"{acknowledged / real_s:,.0f} records acknowledged and {read / real_s:,.0f} read, per second of CPU"
    )
    print(f"{3600 * args.seeds / real_s:,.0f} seeds an hour and core")


def show_profile(profile, seeds, top) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    for seed in range(1, seeds + 1):
        run(seed, profile)
    profiler.disable()
    stats = pstats.Stats(profiler)
    stats.sort_stats("tottime").print_stats(top)
    shares: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        package = file.rpartition("rafka/")[2].rpartition("/")[0] if "rafka/" in file else "Python and codecs"
        shares[package] += own
    whole = sum(shares.values())
    for package, own in shares.most_common(12):
        print(f"{own / whole:6.1%} {package}")


if __name__ == "__main__":
    main()
