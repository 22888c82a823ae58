"""What lines of `auth.log`, `secure` and `messages` mean: patterns of the programs that write them, and OCSF columns as SQL over `r`.

Belongs here: one row a kind of line (words of the program's own source, class, outcome, who). Not here: stamps, framing, keys
(`linux_auth`). Sources: OpenSSH auth.c, auth2.c, sshd.c, packet.c; sudo logging.c; shadow useradd.c, usermod.c, userdel.c,
gpasswd.c; Linux-PAM modules/pam_unix; cron misc.c; systemd logind-session.c.

An attempt counts once: as Logon where sshd names the method that failed or was accepted. What PAM and sshd say about the same attempt
beside it (`Invalid user`, `authentication failure`) is Authentication too, with activity Other. Only where PAM alone writes (old
`sshd(pam_unix)`, login, ftp …) its line is the Logon. Names are hostile text: a name may hold ` from `, so what stands behind it is
anchored to the end of the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LOGON, _LOGOFF, _SWITCH, _AUTH = 300201, 300202, 300207, 300299
_SSH_OPEN, _SSH_CLOSE, _SSH_RESET, _SSH_FAIL, _SSH_REFUSE, _SSH_LISTEN, _SSH = (
    400700 + n for n in (1, 2, 3, 4, 5, 7, 99)
)
_OK, _FAILED = 1, 2

# Programs whose PAM lines stand beside lines of their own about the same act.
_BESIDE = r"^(?:sshd(?:-session|-auth)?|sudo|su|runuser|CRON|cron|crond|CROND|systemd|passwd)$"
_SSHD = r"^sshd(?:-session|-auth)?(?:\(pam_unix\))?$"
_CRON = r"^(?:CRON|CROND|cron|crond|crontab|anacron)$"
_OLD_PAM = r"^(?:sshd|login|ftpd|vsftpd|gdm|xdm|kdm|samba|imap|pop)\(pam_unix\)$"
_ANY = ""

_FROM = r" from (?P<ip>\S+)(?: port \d+)?"
_PAM = r"^(?:pam_\w+\([^)]*\): |PAM )?"
_TAIL = r"(?: ssh\d*)?(?:: .*)?$"
_BY = r"(?: by (?P<actor>[^ (]*)(?:\(uid=\d+\))?)?$"
_SUDO = r"^\s*(?P<actor>.+?) : "
_TO = r"(?:.*; )?USER=(?P<user>[^;]*?) (?:;|$)"
_FAILURE = _PAM + r"authentication failure;.*? rhost=(?P<ip>\S*)(?:\s+user=(?P<user>.*?))?\s*$"
_MORE = _PAM + r"(?P<count>\d+) more authentication failures?;.*? rhost=(?P<ip>\S*)(?:\s+user=(?P<user>.*?))?\s*$"


@dataclass(frozen=True)
class Rule:
    """A kind of line: the first rule of the list that fits gives the event."""

    code: str
    """our word for the kind of line, where syslog has none"""
    type_uid: int
    status: int
    """OCSF `status_id`: 0 unknown, 1 success, 2 failure"""
    programs: str
    """pattern of the programs that write it; empty: any"""
    pattern: str
    """over the message; groups `user`, `actor`, `ip`, `group`, `count`"""


_RULES_SSHD = [
    Rule("ssh_accepted", _LOGON, _OK, _SSHD, r"^Accepted \S+ for (?P<user>.*)" + _FROM + _TAIL),
    Rule("ssh_probe", _AUTH, _FAILED, _SSHD, r"^Failed none for (?:(?:invalid|illegal) user )?(?P<user>.*)" + _FROM + _TAIL),
    Rule("ssh_failed", _LOGON, _FAILED, _SSHD, r"^Failed \S+ for (?:(?:invalid|illegal) user )?(?P<user>.*)" + _FROM + _TAIL),
    Rule("ssh_partial", _AUTH, _OK, _SSHD, r"^(?:Partial|Postponed) \S+ for (?:(?:invalid|illegal) user )?(?P<user>.*)" + _FROM + _TAIL.replace(" ssh", " ?ssh").replace("(?:: .*)?$", ".*$")),
    Rule("ssh_invalid_user", _AUTH, _FAILED, _SSHD, r"^(?:Invalid|Illegal) user (?P<user>.*)" + _FROM + r"$"),
    Rule("ssh_invalid_user", _AUTH, _FAILED, _SSHD, r"^input_userauth_request: (?:invalid|illegal) user (?P<user>.*?)(?: \[preauth\])?$"),
    Rule("ssh_too_many_failures", _AUTH, _FAILED, _SSHD, r"^(?:error: )?maximum authentication attempts exceeded for (?:(?:invalid|illegal) user )?(?P<user>.*)" + _FROM + r" ssh\d*(?: \[preauth\])?$"),
    Rule("ssh_too_many_failures", _AUTH, _FAILED, _SSHD, r"^Disconnecting (?:(?:invalid|authenticating|illegal) )?user (?P<user>.*) (?P<ip>\S+) port \d+: Too many authentication failures"),
    Rule("ssh_too_many_failures", _AUTH, _FAILED, _SSHD, r"^Disconnecting: Too many authentication failures(?: for (?:(?:invalid|illegal) user )?(?P<user>.*?))?(?: from (?P<ip>\S+) port \d+ ssh\d*)?(?: \[preauth\])?$"),
    Rule("ssh_not_allowed", _AUTH, _FAILED, _SSHD, r"^User (?P<user>.*) from (?P<ip>\S+) not allowed because "),
    Rule("ssh_not_allowed", _AUTH, _FAILED, _SSHD, r"^ROOT LOGIN REFUSED FROM (?P<ip>\S+)"),
    Rule("ssh_user_changed", _SSH_CLOSE, _FAILED, _SSHD, r"^Disconnecting.*: Change of username or service not allowed"),
    Rule("ssh_session", _AUTH, _OK, _SSHD, r"^Starting session: .* for (?P<user>.*) from (?P<ip>\S+) port \d+"),
    Rule("ssh_key_accepted", _AUTH, _OK, _SSHD, r"^\s*(?:Accepted key|Found matching) "),
    Rule("ssh_closed", _SSH_CLOSE, 0, _SSHD, r"^(?:Connection closed|Disconnected) (?:by|from) (?:(?:invalid|authenticating|illegal) )?user (?P<user>.*?) ?(?P<ip>[0-9A-Fa-f.:]+) port \d+(?: \[preauth\])?$"),
    Rule("ssh_reset", _SSH_RESET, 0, _SSHD, r"^Connection reset by (?:(?:invalid|authenticating|illegal) )?user (?P<user>.*?) ?(?P<ip>[0-9A-Fa-f.:]+) port \d+(?: \[preauth\])?$"),
    Rule("ssh_reset", _SSH_RESET, 0, _SSHD, r"^Connection reset by (?P<ip>\S+)(?: port \d+)?"),
    Rule("ssh_closed", _SSH_CLOSE, 0, _SSHD, r"^(?:error: )?(?:Connection closed|Disconnected|Closing connection|Received disconnect) (?:by|to|from) (?P<ip>[0-9A-Fa-f.:]*[0-9A-Fa-f])"),
    Rule("ssh_opened", _SSH_OPEN, _OK, _SSHD, r"^Connection from (?P<ip>\S+) port \d+"),
    Rule("ssh_no_identification", _SSH_FAIL, _FAILED, _SSHD, r"^Did not receive identification string(?: from (?P<ip>\S+))?"),
    Rule("ssh_negotiation_failed", _SSH_FAIL, _FAILED, _SSHD, r"^(?:fatal: )?(?:Unable to negotiate (?:with|a key exchange method)|Bad protocol version identification|ssh_dispatch_run_fatal: Connection|banner exchange: Connection)(?:.*? from| ) ?(?P<ip>[0-9A-Fa-f.:]*[0-9A-Fa-f])?"),
    Rule("ssh_refused", _SSH_REFUSE, _FAILED, _SSHD, r"^(?:refused connect from|drop connection .* from|beginning MaxStartups|exited MaxStartups)(?: .*?\(?(?P<ip>[0-9.]{7,})\)?)?"),
    Rule("ssh_reverse_mapping", _SSH, 0, _SSHD, r"^reverse mapping checking getaddrinfo for \S+ \[(?P<ip>[^\]]*)\]"),
    Rule("ssh_reverse_mapping", _SSH, 0, _SSHD, r"^Address (?P<ip>\S+) maps to "),
    Rule("ssh_listening", _SSH_LISTEN, _OK, _SSHD, r"^Server listening on "),
    Rule("service_stopped", 600204, _OK, _SSHD, r"^Received (?:signal|SIGTERM)"),
    Rule("service_restarted", 600205, _OK, _SSHD, r"^Received SIGHUP"),
    Rule("ssh_fatal", _SSH_FAIL, _FAILED, _SSHD, r"^fatal: "),
    Rule("ssh_error", 600801, _FAILED, _SSHD, r"^error: "),
]  # fmt: skip
_RULES_SUDO = [
    Rule("sudo_failed", _SWITCH, _FAILED, r"^sudo$", _SUDO + r"(?P<count>\d+) incorrect password attempts? ; " + _TO),
    Rule("sudo_refused", _SWITCH, _FAILED, r"^sudo$", _SUDO + r"(?:user NOT (?:in sudoers|authorized on host)|command not allowed|a password is required|no tty present[^;]*|sorry, you must have a tty to run sudo|conversation failed|auth could not identify password[^;]*|unable to [^;]*) ; " + _TO),
    Rule("sudo_command", _SWITCH, _OK, r"^sudo$", _SUDO + r"(?:(?:HOST|TTY|CHROOT|PWD|TSID)=[^;]* ; )*USER=(?P<user>[^;]*?) ; .*?COMMAND="),
    Rule("su_failed", _SWITCH, _FAILED, r"^su$", r"^FAILED su for (?P<user>.*) by (?P<actor>\S+)$"),
    Rule("su_failed", _SWITCH, _FAILED, r"^su$", r"^FAILED SU \(to (?P<user>[^)]*)\) (?P<actor>\S+) on "),
    Rule("su_failed", _SWITCH, _FAILED, r"^su$", r"^BAD SU (?P<actor>\S+) to (?P<user>\S+)"),
    Rule("su_failed", _SWITCH, _FAILED, r"^su$", r"^- \S+ (?P<actor>[^:]+):(?P<user>.+)$"),
    Rule("su_switched", _SWITCH, _OK, r"^su$", r"^Successful su for (?P<user>.*) by (?P<actor>\S+)$"),
    Rule("su_switched", _SWITCH, _OK, r"^su$", r"^\(to (?P<user>[^)]*)\) (?P<actor>\S+) on "),
    Rule("su_noted", _AUTH, _OK, r"^su$", r"^\+ \S+ (?P<actor>[^:]+):(?P<user>.+)$"),
    Rule("su_switched", _SWITCH, _OK, r"^su\(pam_unix\)$", r"^session opened for user (?P<user>[^ (]+)(?:\(uid=\d+\))?" + _BY),
    Rule("su_failed", _SWITCH, _FAILED, r"^su\(pam_unix\)$", _FAILURE.replace(".*? rhost", ".*? ruser=(?P<actor>\\S*) rhost")),
]  # fmt: skip
_RULES_ACCOUNTS = [
    Rule("user_added", 300101, _OK, "useradd|adduser", r"^new user: name=(?P<user>.*?), UID="),
    Rule("user_added", 300101, _FAILED, "useradd|adduser", r"^failed adding user '(?P<user>.*)'"),
    Rule("group_added", 300606, _OK, "useradd|groupadd|addgroup|usermod", r"^(?:new group|group added to \S+): name=(?P<group>[^,]*)"),
    Rule("group_member_added", 300603, _OK, "useradd|usermod|gpasswd", r"^add '(?P<user>.*)' to (?:shadow )?group '(?P<group>.*)'$"),
    Rule("group_member_removed", 300604, _OK, "userdel|usermod|gpasswd", r"^delete '(?P<user>.*)' from (?:shadow )?group '(?P<group>.*)'$"),
    Rule("group_member_added", 300603, _OK, "gpasswd", r"^user (?P<user>.*) added by (?P<actor>\S+) to group (?P<group>\S+)$"),
    Rule("group_member_removed", 300604, _OK, "gpasswd", r"^user (?P<user>.*) removed by (?P<actor>\S+) from group (?P<group>\S+)$"),
    Rule("group_changed", 300699, _OK, "gpasswd|groupmod", r"^.*group (?:changed in \S+ \(group )?'?(?P<group>[\w.$-]+)'?"),
    Rule("user_deleted", 300106, _OK, "userdel", r"^delete user '(?P<user>.*)'$"),
    Rule("group_deleted", 300605, _OK, "userdel|groupdel", r"^(?:removed (?:shadow )?group|group) '(?P<group>.*?)' ?(?:owned by|removed|$)"),
    Rule("group_deleted", 300605, _OK, "userdel|groupdel", r"^remove group '(?P<group>.*)'$"),
    Rule("user_locked", 300109, _OK, "usermod|passwd", r"^lock user '(?P<user>.*)' password$"),
    Rule("user_unlocked", 300112, _OK, "usermod|passwd", r"^unlock user '(?P<user>.*)' password$"),
    Rule("password_reset", 300104, _OK, "usermod", r"^change user '(?P<user>.*)' password$"),
    Rule("password_reset", 300104, _OK, "passwd|chpasswd", r"^password for '(?P<user>.*)' changed by '(?P<actor>.*)'$"),
    Rule("password_changed", 300103, _OK, _ANY, r"^(?:pam_\w+\([^)]*chauthtok\): )password changed for (?P<user>.*)$"),
    Rule("user_changed", 300199, _OK, "usermod|chsh|chfn|useradd", r"^changed? (?:the )?user (?:name )?'(?P<user>.*?)'"),
    Rule("user_changed", 300199, _OK, "chage|usermod|passwd", r"^changed password expiry (?:for|of) '?(?P<user>[^']*?)'?$"),
]  # fmt: skip
_RULES_SESSIONS = [
    Rule("cron_started", 100606, _OK, _CRON, r"^\((?P<actor>[^)]*)\) CMD"),
    Rule("cron_changed", 100602, _OK, _CRON, r"^\((?P<actor>[^)]*)\) (?:REPLACE|DELETE|RELOAD)"),
    Rule("cron_other", 100699, 0, _CRON, r"^\((?P<actor>[^)]*)\) [A-Z]"),
    Rule("session_opened", _AUTH, _OK, "^systemd-logind$|^elogind", r"^New session \S+ of user (?P<user>.*?)\.?$"),
    Rule("session_closed", _LOGOFF, _OK, "^systemd-logind$|^elogind", r"^(?:Removed session|Session) \S+"),
    Rule("session_other", _AUTH, 0, "^systemd-logind$|^elogind", ""),
    Rule("pam_failures", _AUTH, _FAILED, _BESIDE, _MORE),
    Rule("pam_failures", _LOGON, _FAILED, _ANY, _MORE),
    Rule("pam_failure", _AUTH, _FAILED, "^(?:su|sudo|runuser)$", _FAILURE.replace(".*? rhost", r".*? ruser=(?P<actor>\S*) rhost")),
    Rule("pam_failure", _AUTH, _FAILED, _BESIDE, _FAILURE),
    Rule("pam_failure", _LOGON, _FAILED, _ANY, _FAILURE),
    Rule("session_opened", _AUTH, _OK, _BESIDE, _PAM + r"session opened for user (?P<user>[^ (]+)(?:\(uid=\d+\))?" + _BY),
    Rule("session_opened", _LOGON, _OK, _ANY, _PAM + r"session opened for user (?P<user>[^ (]+)(?:\(uid=\d+\))?" + _BY),
    Rule("session_closed", _LOGOFF, _OK, _ANY, _PAM + r"session closed for user (?P<user>.*?)\s*$"),
    Rule("pam_other", _AUTH, _FAILED, _ANY, _PAM + r"(?:requirement .* not met by user \"(?P<user>.*)\"$|check pass; user unknown|User unknown|service\([^)]*\) ignoring max retries|.*could not identify user)"),
    Rule("login_failed", _LOGON, _FAILED, "^login", r"^FAILED LOGIN (?:SESSION|\(?\d+\)?|\S+)?.*? FROM (?P<ip>\S+) FOR '?(?P<user>.*?)'?,"),
    Rule("login_accepted", _LOGON, _OK, "^login", r"^(?:ROOT )?LOGIN ON \S+(?: BY (?P<user>\S+))?(?: FROM (?P<ip>\S+))?"),
    Rule("logged_out", _LOGOFF, _OK, _ANY, r"^user (?P<user>\S+) logged out\.?$"),
    Rule("connection", 400101, _OK, "ftpd|telnetd|xinetd", r"^connection from (?P<ip>\S+)"),
    Rule("anonymous_login", _LOGON, _OK, "ftpd", r"^ANONYMOUS FTP LOGIN FROM (?P<ip>[^,\s]+)"),
    Rule("kerberos_failed", _AUTH, _FAILED, "klogind|kshd|krb", r"^Authentication failed from (?P<ip>\S+)"),
    Rule("pam_message", _AUTH, 0, _ANY, r"^pam_\w+\("),
    Rule("ssh_other", _SSH, 0, _SSHD, ""),
    Rule("su_other", _AUTH, 0, r"^su(?:\(pam_unix\))?$|^sudo$|^login", ""),
]  # fmt: skip
RULES = [*_RULES_SSHD, *_RULES_SUDO, *_RULES_ACCOUNTS, *_RULES_SESSIONS]

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
STAMP = rf"(?:<\d{{1,3}}>(?:1 )?)?(?:(?:{_MONTHS}) [ 0-3]?\d \d\d:\d\d:\d\d(?:\.\d{{1,6}})?|\d{{4}}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d{{1,9}})?(?:[Zz]|[+-]\d\d:?\d\d)?)"
_HEAD = rf"^{STAMP} +(\S+) (?:([^\s:\[\]]+?)(?:\[(\d+)\])?: ?)?(.*)$"
_REPEATED = r"^message repeated (\d+) times: \[ (.*)\]$"
_IP = r"'^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%\w+)?)$'"
_HOST = "'^[^:]*[A-Za-z_-][^:]*$'"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def record() -> str:
    """SQL over `doc`: host, program, pid, text of the line, message inside a repetition, how often, and which rule fits (its number)."""
    cases = []
    at = 0
    while at < len(RULES):  # neighbours of the same programs share one test
        programs = RULES[at].programs
        end = at
        while end < len(RULES) and RULES[end].programs == programs:
            end += 1
        inner = " ".join(f"WHEN regexp_matches(p.m, {_quote(RULES[n].pattern)}) THEN {n}" for n in range(at, end))
        test = f"regexp_matches(p.program, {_quote(programs)})" if programs else "true"
        cases.append(f"CASE WHEN {test} THEN CASE {inner} END END")
        at = end
    head = f"regexp_extract(doc, {_quote(_HEAD)}, ['host', 'program', 'pid', 'text'])"
    repeated = f"regexp_extract(h.text, {_quote(_REPEATED)}, ['n', 'm'])"
    return (
        f"list_transform(list_transform(list_transform([{head}], lambda h: {{'h': h, 'q': CASE WHEN starts_with(h.text, 'message repeated ') THEN {repeated} END}}), "
        "lambda x: {'host': x.h.host, 'program': x.h.program, 'text': x.h.text, 'm': ltrim(coalesce(nullif(x.q.m, ''), x.h.text)), 'n': TRY_CAST(x.q.n AS INTEGER)}), "
        f"lambda p: {{'host': p.host, 'program': p.program, 'text': p.text, 'm': p.m, 'n': p.n, 'rule': coalesce({', '.join(cases)}, -1)}})[1]"
    )


def _by_rule(values: dict[int, str], default: str) -> str:
    by_value: dict[str, list[int]] = {}
    for number, value in values.items():
        by_value.setdefault(value, []).append(number)
    cases = " ".join(f"WHEN r.rule IN ({', '.join(map(str, ns))}) THEN {value}" for value, ns in by_value.items())
    return f"(CASE {cases} ELSE {default} END)"


def _group(name: str, *, ssh: bool = True) -> str:
    """The text of a named group of the rule that fits; null where it has none; without `ssh` only of rules of other programs."""
    found = {}
    for number, rule in enumerate(RULES):
        if not ssh and rule.programs == _SSHD and rule.code != "ssh_not_allowed":
            continue
        groups = re.compile(rule.pattern).groupindex
        if name in groups:
            found[number] = f"nullif(regexp_extract(r.m, {_quote(rule.pattern)}, {groups[name]}), '')"
    return _by_rule(found, "NULL")


def columns() -> dict[str, str]:
    """Event column to SQL expression over `r`; the actor of sudo and su is who called it, in Authentication `user` is who signs in.

    Preparing the statement costs as much as its regular expressions: none stands where a rule's number tells the same.
    """
    numbers = {n: rule.type_uid for n, rule in enumerate(RULES)}
    address, user, actor = _group("ip"), _group("user"), _group("actor")
    own = {
        n for n, rule in enumerate(RULES) if rule.type_uid in (_LOGON, _LOGOFF, _AUTH) and "(?P<user>" in rule.pattern
    }
    called = {n for n, rule in enumerate(RULES) if "(?P<actor>" in rule.pattern}
    program = r"nullif(regexp_replace(r.program, '\(pam_unix\)$', ''), '')"
    return {
        "class_uid": _by_rule({n: str(t // 100) for n, t in numbers.items()}, "0"),
        "category_uid": _by_rule({n: str(t // 100_000) for n, t in numbers.items()}, "0"),
        "activity_id": _by_rule({n: str(t % 100) for n, t in numbers.items()}, "0"),
        "type_uid": _by_rule({n: str(t) for n, t in numbers.items()}, "0"),
        "severity_id": "1",
        "status_id": _by_rule({n: str(rule.status) for n, rule in enumerate(RULES)}, "0"),
        "message": "nullif(r.text, '')",
        "count": f"TRY_CAST(coalesce(r.n, 1)::BIGINT * coalesce(TRY_CAST({_group('count')} AS INTEGER), 1) AS INTEGER)",
        "metadata_event_code": _by_rule({n: _quote(rule.code) for n, rule in enumerate(RULES)}, "NULL"),
        "metadata_product_name": program,
        "metadata_product_vendor_name": "'Linux'",
        "metadata_log_name": "'syslog'",
        "actor_user_name": actor,
        "user_name": user,
        "group_name": _group("group"),
        "src_endpoint_ip": f"nullif(regexp_extract({address}, {_IP}), '')",
        # sshd itself tells addresses, never names, but for who is not allowed
        "src_endpoint_hostname": f"nullif(regexp_extract({_group('ip', ssh=False)}, {_HOST}), '')",
        "dst_endpoint_hostname": "nullif(r.host, '')",
        "device_hostname": "nullif(r.host, '')",
        "api_service_name": program,
        "x_actor": f"coalesce({actor}, {_by_rule(dict.fromkeys(own, user), 'NULL')})",
        "x_actor_kind": f"CASE WHEN r.program IN ('CRON', 'CROND', 'cron', 'crond') THEN 'service' WHEN r.rule IN ({', '.join(map(str, sorted(own | called)))}) THEN 'unknown' END",
    }
