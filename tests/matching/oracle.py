"""What has to hold, checked from what was said and never from what the matcher keeps."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from server_room_system.broker.queues import Match, MatchQueue, Ticket, Window

__all__ = ["Mistake", "Oracle", "Party"]

_EARLY = 1e-5
"""Seconds that a window may run ahead."""
_LATE = 1e-3
"""Seconds from when something is due until it is done, at most: here, the clock stands still while there is work."""


class Mistake(AssertionError):
    """Something that must not happen has happened."""


@dataclass(slots=True)
class Party:
    """What was said of one ticket, and what has become of it since."""

    ticket: Ticket
    sessions: tuple[str, ...]
    criteria: Mapping[str, tuple[object, ...]]
    roles: tuple[frozenset[str], ...]
    trips: Mapping[str, float]
    """The worst of its players to each region."""
    rating: float
    since: float
    standing: str = "waiting"
    touched: float = 0.0
    """When it last began to wait: as it came, was put back, or came back."""


def _reach(window: Window, waited: float) -> float:
    """How far a window is after so many seconds, worked out once more."""
    return max(window.start, min(window.most, window.start + window.per_second * waited))


class Oracle:
    """Follows every ticket, session and room of one queue."""

    def __init__(self, policy: MatchQueue) -> None:
        self.policy = policy
        self.parties: dict[int, Party] = {}
        """Those that have not ended."""
        self.playing: dict[str, object] = {}
        """Sessions, and the match that they are in: proposed, or running."""
        self.vacant: dict[str, dict[str, Counter[str]]] = {}
        """Rooms that seek members, with what each team lacks."""
        self.sought: dict[str, tuple[float | None, Mapping[str, tuple[object, ...]], str | None, float]] = {}
        """Their ratings, criteria, regions, and since when they seek."""
        self.ended: Counter[str] = Counter()
        self.checks = 0

    def fail(self, text: str) -> None:
        """Say what is wrong."""
        raise Mistake(text)

    def entered(self, party: Party) -> None:
        """A ticket waits from now on."""
        self.parties[party.ticket.number] = party
        party.touched = party.since
        for session in party.sessions:
            if session in self.playing:
                self.fail(f"{session} waits and plays at once")

    def end(self, number: int, how: str) -> None:
        """It has ended, and that was acknowledged."""
        party = self.parties.pop(number)
        party.standing = how
        self.ended[how] += 1

    # A match.

    def matched(self, match: Match, now: float) -> list[Party]:
        """The matcher has made a match: is it one that it may make?"""
        self.checks += 1
        parties: list[Party] = []
        for ticket in match.tickets:
            party = self.parties.get(ticket.number)
            if party is None or party.ticket is not ticket:
                raise Mistake(f"{ticket} is matched after it has ended")
            if party.standing != "waiting":
                self.fail(f"{ticket} is matched while it is {party.standing}")
            parties.append(party)
        if not parties or len({party.ticket.number for party in parties}) < len(parties):
            self.fail(f"a match of nobody, or of one ticket twice: {match.tickets}")
        for session in (session for party in parties for session in party.sessions):
            if session in self.playing:
                self.fail(f"{session} is in two matches")
            self.playing[session] = match
        self._parties_are_whole(match, parties)
        self._criteria_hold(match, parties)
        self._ratings_and_regions_hold(match, parties, now)
        if match.room is None:
            self._sizes_hold(match, parties, now)
            if self._is_plain():
                self._they_met_in_time(parties, now)
        else:
            self._places_were_free(match, parties)
        for party in parties:
            party.standing = "proposed"
        return parties

    def _parties_are_whole(self, match: Match, parties: Iterable[Party]) -> None:
        teams: dict[int, set[str]] = {}
        places: Counter[str] = Counter()
        for team, placed in match.teams.items():
            for place in placed:
                teams.setdefault(place.ticket.number, set()).add(team)
                places[str(place.entrant.session)] += 1
                if place.team != team:
                    self.fail(f"{place} stands under team {team}")
                if place.role and place.entrant.roles and place.role not in place.entrant.roles:
                    self.fail(f"{place.entrant} plays {place.role}, and said {sorted(place.entrant.roles)}")
        wanted = Counter(session for party in parties for session in party.sessions)
        if places != wanted:
            self.fail(f"players {sorted(places.elements())} for tickets of {sorted(wanted.elements())}")
        for number, where in teams.items():
            if len(where) > 1:
                self.fail(f"the party of ticket {number} is split over {sorted(where)}")

    def _criteria_hold(self, match: Match, parties: Sequence[Party]) -> None:
        wishes = [party.criteria for party in parties]
        if match.room is not None:
            wishes.append(self.sought[match.room][1])
        for name in self.policy.hard:
            accepted = [set(wish[name]) for wish in wishes if name in wish]
            if accepted and not set.intersection(*accepted):
                self.fail(f"nobody agrees on {name}: {accepted}")
            if accepted and match.room is None and match.criteria.get(name) not in set.intersection(*accepted):
                self.fail(f"{name} is {match.criteria.get(name)!r}, of {accepted}")

    def _ratings_and_regions_hold(self, match: Match, parties: Sequence[Party], now: float) -> None:
        policy, window, latency = self.policy, self.policy.window, self.policy.latency
        overdue = any(self.overdue(party, now) for party in parties)
        if window is not None:
            ratings = [party.rating for party in parties]
            reach = min(_reach(window, now - party.since + _EARLY) for party in parties)
            if match.room is not None:
                rating, _, _, since = self.sought[match.room]
                ratings += [] if rating is None else [rating]
                reach = min(reach, _reach(window, now - since + _EARLY))
            if policy.then == "wider" and overdue:
                reach = window.most
            if max(ratings) - min(ratings) > reach + 1e-6:
                self.fail(f"ratings {ratings} in a window of {reach:.1f}")
        if latency is not None:
            for party in parties:
                near = _reach(latency, now - party.since + _EARLY)
                if match.region is None or party.trips.get(match.region, 1e9) > near:
                    self.fail(f"{party.ticket} is {party.trips} s from {match.region}, with {near:.3f} allowed")
        if match.room is None:
            for index, party in enumerate(parties):
                for other in parties[:index]:
                    if not policy.fits(party.ticket, other.ticket):
                        self.fail(f"{party.ticket} and {other.ticket} meet, and fits says no")

    def _sizes_hold(self, match: Match, parties: Sequence[Party], now: float) -> None:
        policy = self.policy
        declared = dict(policy.teams) if policy.teams is not None else {"": policy.most or 2}
        full = sum(declared.values())
        sizes = {team: len(places) for team, places in match.teams.items() if places}
        players = sum(sizes.values())
        overdue = any(self.overdue(party, now) for party in parties)
        if players < full and not (overdue and policy.then in ("smaller", "bots")):
            self.fail(f"{players} of {full} players, and nobody has waited for it")
        if policy.then == "bots":
            filled = {team: sizes.get(team, 0) + match.bots.get(team, 0) for team in declared}
            if filled != declared or players < (policy.least or 1):
                self.fail(f"{sizes} and bots {dict(match.bots)} for {declared}, at least {policy.least}")
        else:
            wanted = {team: places * players // full for team, places in declared.items()}
            least = policy.least or full
            if sizes != wanted or match.bots or players < least or players % policy.multiple:
                self.fail(f"{sizes} for {declared}")
        for team, places in match.teams.items():
            if players == full and policy.roles is not None:
                roles = Counter(place.role for place in places if place.role)
                if roles != policy.roles:
                    self.fail(f"team {team} has {dict(roles)}, and needs {dict(policy.roles)}")

    def _places_were_free(self, match: Match, parties: Sequence[Party]) -> None:
        if len(parties) != 1 or match.room not in self.vacant:
            self.fail(f"{match.tickets} come into {match.room}, which seeks nobody")
        for team, places in match.teams.items():
            taken = Counter(place.role for place in places)
            left = self.vacant[str(match.room)].get(team, Counter())
            if any(left[role] < count for role, count in taken.items()):
                self.fail(f"room {match.room} lacks {left} in {team}, and gets {taken}")
            left.subtract(taken)
        if not sum(sum(team.values()) for team in self.vacant[str(match.room)].values()):
            del self.vacant[str(match.room)]

    # Time.

    def _is_plain(self) -> bool:
        """Whether two tickets are a match as soon as they fit: whoever waits then is matched, and nobody is late."""
        return self.policy.shape.full == 2 and self.policy.roles is None and self.policy.latency is None

    def _they_met_in_time(self, parties: Sequence[Party], now: float) -> None:
        one, other = parties
        window, distance = self.policy.window, abs(one.rating - other.rating)
        since = max(one.since, other.since)
        if window is not None and distance > window.start:
            since += (distance - window.start) / window.per_second
        if now > max(since, one.touched, other.touched) + _LATE:
            self.fail(f"{one.ticket} and {other.ticket} fit since {since:.3f} s, and meet at {now:.3f} s")

    def refused(self, party: Party, now: float) -> None:
        """The matcher has refused it: at its time?"""
        waited = now - party.since
        if party.standing != "waiting" or not self.overdue(party, now):
            self.fail(f"{party.ticket} is refused, {party.standing} for {waited:.3f} s")
        if self.policy.max_wait is None or now > max(party.since + self.policy.max_wait, party.touched) + _LATE:
            self.fail(f"{party.ticket} is refused after {waited:.3f} s, with a max_wait of {self.policy.max_wait} s")
        self.end(party.ticket.number, "refused")

    def overdue(self, party: Party, now: float) -> bool:
        """Whether it has waited as long as it is to wait for a full match."""
        return self.policy.max_wait is not None and now >= party.since + self.policy.max_wait - _EARLY

    def settled(self, now: float) -> None:
        """The matcher says that there is nothing more to do: is that so?"""
        waiting = [party for party in self.parties.values() if party.standing == "waiting"]
        if self.policy.then == "refuse":
            for party in waiting:
                if self.policy.max_wait is not None and now > party.since + self.policy.max_wait + _EARLY:
                    self.fail(f"{party.ticket} waits for {now - party.since:.3f} s, and was to be refused")
        if self._is_plain():
            self._nobody_waits_beside_somebody_who_fits(waiting, now)

    def _nobody_waits_beside_somebody_who_fits(self, waiting: Sequence[Party], now: float) -> None:
        window = self.policy.window
        order = sorted(waiting, key=lambda party: party.rating)
        for index, one in enumerate(order):
            for other in order[index + 1 :]:
                younger = max(one.since, other.since)
                if window is not None and other.rating - one.rating > _reach(window, now - younger - _EARLY):
                    if other.rating - one.rating > window.most:
                        break
                    continue
                both = (one.criteria, other.criteria)
                agreed = all(
                    not all(name in wish for wish in both) or set(both[0][name]) & set(both[1][name])
                    for name in self.policy.hard
                )
                if agreed and self.policy.fits(one.ticket, other.ticket):
                    self.fail(f"{one.ticket} and {other.ticket} fit at {now:.3f} s, and both wait")
