"""AWS CloudTrail: log files of all accounts and regions from the bucket that a trail delivers to, held against its signed digests.

Belongs here: which objects are new, and what a collection writes into its entry. Not here: keys and listing (`_cloudtrail_layout`),
digests (`_cloudtrail_digests`, `_cloudtrail_keys`), what they mean for days (`_cloudtrail_days`), AWS's APIs (`_cloudtrail_api`), what is
remembered and concluded (`_cloudtrail_asking`).
Source: AWS CloudTrail User Guide, log file and digest structure.

An object is known by its key and ETag, both in the chain's members. No "start after the last key": a file of the same minute may sort
before it, and a file may be delivered again under its old key. So whole days are listed, from the checkpoint's day less `look_back`
(once a week from 30 days before, as long as AWS tries to deliver), and what is known is left out. Only when all of it could be read does the
checkpoint move. Digests are listed before the log files: what they name had been delivered by then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec
from pydantic import Field

from audit_pipeline.clock import DAY, midnight, rfc3339
from audit_pipeline.lake.manifest import Member, Remark
from audit_pipeline.lake.raw import Item
from audit_pipeline.sections import Duration, Section
from audit_pipeline.sources._clocks import earlier
from audit_pipeline.sources._cloudtrail_api import Api, stopped, troubles
from audit_pipeline.sources._cloudtrail_asking import Asking, Past
from audit_pipeline.sources._cloudtrail_days import Days, Received, content_hash, delivered
from audit_pipeline.sources._cloudtrail_digests import Chain, validate
from audit_pipeline.sources._cloudtrail_keys import PublicKeys
from audit_pipeline.sources._cloudtrail_layout import (
    DIGEST_NAME,
    DIGESTS,
    INSIGHTS,
    LOGS,
    DeniedError,
    Place,
    Scope,
    Stored,
    scopes,
)
from audit_pipeline.sources.base import Collection, Grant, Opening, Probe, SourceError, selector

EXAMPLE = """\
  cloudtrail_prod:
    type: cloudtrail               # AWS CloudTrail's bucket, with its digests
    format: cloudtrail
    storage: {}                    # options of the object store, such as {endpoint_url: "https://s3.example.com"}; no secrets
    options:
      url: s3://audit-logs         # change this: bucket, with the trail's prefix if it has one; or a folder of the same layout
      organization: null           # o-… of an organisation trail; null: what is found
      accounts: []                 # account numbers, in quotes; empty: all that are found
      regions: []                  # such as [eu-central-1]; empty: all that are found
      digests: true                # hold the log files against the signed digests
      public_keys: null            # file with the digests' public keys; null: asked of AWS (cloudtrail:ListPublicKeys)
      trail: null                  # name or ARN of the trail, whose status is asked for
      region: null                 # the trail's home region; null: as the digests' names say
      look_back: 1d                # how many days behind the last collection are listed again
      lag: 15m                     # how fresh deliveries do not count as complete yet
    settles_after: 2h
"""
SWEEP_DAYS, SWEEP_EVERY = 30, 7 * DAY
"""AWS tries to deliver for so many days what a bucket refused; so often these days are listed again."""
AHEAD = dt.timedelta(minutes=2)
"""So far in the future a delivery may be named: the clock of who names it is not ours."""


class Options(Section):
    """What is read, and what it is held against."""

    url: str = Field(description="`s3://bucket` or `s3://bucket/prefix`, or a folder: what holds `AWSLogs`")
    organization: str | None = Field(default=None, description="id `o-…` of the organisation; null: what is found")
    accounts: list[str] = Field(default_factory=list, description="account numbers; empty: all that are found")
    regions: list[str] = Field(default_factory=list, description="regions; empty: all that are found")
    digests: bool = Field(
        default=True, description="hold the log files against the signed digests, where there are any"
    )
    public_keys: str | None = Field(
        default=None,
        description="file with the digests' public keys: JSON of `aws cloudtrail list-public-keys`, PEM or DER; null: asked of AWS",
    )
    trail: str | None = Field(default=None, description="name or ARN of the trail, whose status is asked for")
    region: str | None = Field(default=None, description="the trail's home region; null: as the digests' names say")
    look_back: Duration = Field(
        default=dt.timedelta(days=1), description="how far behind the last collection whole days are listed again"
    )
    lag: Duration = Field(
        default=dt.timedelta(minutes=15), description="how fresh deliveries do not count as complete yet"
    )


def open_source(opening: Opening) -> CloudTrailSource:
    """The configured bucket or folder."""
    source = CloudTrailSource(opening)
    return source if source.local else BucketSource(opening)


class CloudTrailSource:
    """A trail's bucket; see the module."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._options: Options = opening.options
        self._place = Place(opening.resolve(self._options.url), opening.source.storage)
        self._api = Api(self._options.region, opening.source.storage)

    @property
    def local(self) -> bool:
        """Whether it is a folder."""
        return self._place.local

    def collect(self, collection: Collection) -> Iterator[Item]:
        """New log files, scope by scope, each then held against its digests.

        Raises:
            SourceError: the bucket cannot be listed; what was yielded before is kept.
        """
        self._place.refresh()
        past = Past.of(collection.known, self._selector)
        found, denied = scopes(self._place, self._options.organization, self._options.accounts, self._options.regions)
        asking = self._asking(collection, past)
        for detail in denied:
            asking.trouble(detail)
        if not found and not denied:
            collection.remarks.append(Remark("silent", f"{self._place.url}: no AWSLogs/…/CloudTrail below it, so nothing can be heard of this source. Check options.url, accounts and regions"))  # fmt: skip
        self._status(asking)
        collection.request.update(self._request(asking, found))
        for scope in found:
            yield from self._scope(asking, scope)
        asking.conclude()

    @property
    def _selector(self) -> str:
        """What is read: with another selection nothing of it was read yet."""
        chosen = self._options
        return selector([chosen.url, chosen.organization, sorted(chosen.accounts), sorted(chosen.regions)])

    def _asking(self, collection: Collection, past: Past) -> Asking:
        proof = self._first(past, collection.now)
        first = self._swept(past, collection.now, proof)
        return Asking(
            collection,
            past,
            first,
            proof,
            collection.now.date(),
            Days(self._place, self._opening.start, proof, collection.now),
            self._keys,
        )

    def _first(self, past: Past, now: dt.datetime) -> dt.date:
        """The first day that is asked for."""
        start = self._opening.start.date()
        if past.checkpoint is None or past.since is None or self._opening.start < past.since:
            return min(start, now.date())
        return max(start, (past.checkpoint - self._options.look_back).date())

    def _swept(self, past: Past, now: dt.datetime, first: dt.date) -> dt.date:
        """Once a week from earlier on: what was delivered late under an old key."""
        if past.swept is not None and now - past.swept < SWEEP_EVERY:
            return first
        return min(first, max(self._opening.start.date(), (now - SWEEP_DAYS * DAY).date()))

    def _request(self, asking: Asking, found: list[Scope]) -> dict[str, Any]:
        past, now = asking.past, asking.collection.now
        swept = past.swept if past.swept and now - past.swept < SWEEP_EVERY and past.checkpoint else now
        until = rfc3339(
            earlier(asking.collection, self._api.date, "AWS's", "its deliveries are stamped by it") - self._options.lag
        )
        return {
            "from": rfc3339(self._opening.start), "to": until, "window": [rfc3339(midnight(asking.first)), until], "selector": self._selector,
            "url": self._place.url, "scopes": sorted({*past.scopes, *map(str, found)}), "swept": rfc3339(swept),
        }  # fmt: skip

    def _scope(self, asking: Asking, scope: Scope) -> Iterator[Item]:
        """One account's one region: digests are listed, log files read, and then the one held against the other."""
        first = asking.first
        if asking.past.checkpoint is not None and str(scope) not in asking.past.scopes:
            first = self._opening.start.date()  # never read before
        try:
            digests = self._place.days(scope, DIGESTS, asking.proof, asking.last) if self._options.digests else []
            logs = self._place.days(scope, LOGS, first, asking.last)
            asking.insights += len(self._place.days(scope, INSIGHTS, first, asking.last))
        except DeniedError as error:
            asking.trouble(str(error))
            return
        logs = self._visible(asking, logs)
        received = Received(written={one.key: one.modified for one in logs})
        for one in logs:
            if one.key in asking.past.received.hashes:
                received.hashes[one.key] |= asking.past.received.hashes[one.key]
        yield from self._new(asking, logs, received)
        if self._options.digests:
            chain = self._chain(asking, scope, digests, received)
            late = (
                self._place.find(key) for key in asking.days.lacking(chain, received) if key not in received.refused
            )
            yield from self._new(asking, [one for one in late if one is not None], received)
            asking.days.add(scope, chain, logs, received, known=str(scope) in asking.past.digests)

    def _visible(self, asking: Asking, logs: list[Stored]) -> list[Stored]:
        """Log files by their names, and delivered by now."""
        found = []
        for one in logs:
            at = delivered(one.name)
            if at is None:
                asking.strange += 1
            elif at > asking.collection.now + AHEAD or (asking.collection.simulated and at > asking.collection.now):
                asking.later += 1
            else:
                found.append(one)
        return found

    def _new(self, asking: Asking, logs: list[Stored], received: Received) -> Iterator[Item]:
        """What is not known by key and ETag, as it lies there."""
        fresh = (one for one in logs if (one.key, one.etag) not in asking.past.known)
        for one, data in self._place.read_all(fresh):
            stamp = delivered(one.name)
            member = Member(
                name=one.key, offset=0, length=0, sha256="", visible_time=rfc3339(stamp) if stamp else None, visible_from="delivery",
                encoding="gzip", size=one.size, modified=rfc3339(one.modified), etag=one.etag,
            )  # fmt: skip
            if isinstance(data, bytes):
                digest, _ = content_hash(data)
                received.hashes[one.key].add(digest)
                asking.past.known.add((one.key, one.etag))
                yield Item(data, _with(member, inflated_sha256=digest))
            elif not isinstance(data, FileNotFoundError):  # deleted since it was listed: a digest names it
                received.refused.add(one.key)
                asking.trouble(f"{one.key}: could not be read ({data.strerror or data}). Grant s3:GetObject (and kms:Decrypt for an encrypted bucket)")  # fmt: skip
                yield Item(b"", _with(member, error=f"unreadable: {data.strerror or data}", size=None))

    def _chain(self, asking: Asking, scope: Scope, digests: list[Stored], received: Received) -> Chain:
        """What the digests of a scope say; nothing where they cannot be verified."""
        end = f"{asking.collection.now:%Y%m%dT%H%M%S}"
        listed = [one for one in digests if (match := DIGEST_NAME.fullmatch(one.name)) and match["end"] <= end]
        if listed and self._api.region is None and (match := DIGEST_NAME.fullmatch(listed[-1].name)):
            self._api.region = match["home"]
        try:
            chain = validate(self._place, asking.keys, midnight(asking.proof), listed)
        except SourceError as error:
            asking.trouble(f"{scope}: digests cannot be verified: {error}")
            return Chain()
        for named in chain.files:  # also what lies there no longer, when it was taken before
            if named.key in asking.past.received.hashes:
                received.hashes[named.key] |= asking.past.received.hashes[named.key]
        if chain.until is not None:
            asking.digests[str(scope)] = {"object": chain.newest, "signature": chain.signature, "to": rfc3339(chain.until)}  # fmt: skip
        return chain

    @property
    def _keys(self) -> PublicKeys:
        """Those of the file, and of AWS where there is a bucket or a region to ask in."""
        options = self._options
        file = self._opening.resolve(options.public_keys) if options.public_keys else None
        asks = file is None and (not self._place.local or options.region is not None)
        return PublicKeys(file=file, ask=self._api.public_keys if asks else None)

    def _status(self, asking: Asking) -> None:
        """The trail's own word, and the bucket's life cycle."""
        collection, trail = asking.collection, self._options.trail
        if trail:
            since = asking.past.checkpoint or self._opening.start
            try:
                status = self._api.status(trail)
            except SourceError as error:
                collection.request["status_refused"] = str(error)
            else:
                collection.remarks += troubles(trail, status)
                if unread := stopped(trail, status, since, collection.now):
                    collection.request["unread"] = unread
        if not self._place.local:
            try:
                if horizon := self._api.horizon_s(self._place.bucket, f"{self._place.folder}AWSLogs/"):
                    collection.request["horizon_s"] = horizon
            except SourceError as error:
                collection.request["horizon_refused"] = str(error)

    def probe(self) -> list[Probe]:
        """Whether it can be read, as whom, what is lacking, and what to ask for."""
        from audit_pipeline.sources._cloudtrail_probe import probes

        options = self._options
        try:
            self._place.refresh()
            found, denied = scopes(self._place, options.organization, options.accounts, options.regions)
            keys = self._keys if options.digests else None
        except SourceError as error:
            return [Probe("reach", False, str(error))]
        return probes(self._place, found, denied, keys, self._api, options.trail, self._opening.clock.now())


class BucketSource(CloudTrailSource):
    """A bucket has a policy that can be read; a folder tells nobody's rights."""

    def access(self) -> list[Grant]:
        """What the bucket's policy grants. Who may stop the trail is said in IAM, which cannot be seen from here.

        Raises:
            SourceError: `s3:GetBucketPolicy` is lacking.
        """
        return self._api.grants(self._place.bucket)


def _with(member: Member, **changes: Any) -> Member:
    return msgspec.structs.replace(member, **changes)
