"""Plugins between Dovecot and real clients: each sample does what it says and nothing else, the connection with
the server is compressed, and a faulty script ends its own session."""
import re, uuid

from checks import Skip, need
from clients import Home, on_terminal, quoted, run as tool_run, tool
from proxy import Proxy, accounts
from stage import HERE, free_ports, listening
from traffic import Wire, imap, large, pop

BIG = "alice@real.test"  # her inbox has the 25 MB message
READER, FIRST, SECOND = ("crowd%02d@real.test" % number for number in (11, 12, 13))
LINK = "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fshop.example%2Fa%3Fb%3D1&data=05%7C01&reserved=0"
REPLACE = 'replace.lua pattern="(?i)number ([0-9]+)" replacement="No. $1" type=text/plain'

# Name: what the listener is in front of, and its plugins.
LISTENERS = dict(
    plain=("imap", ""), pop=("pop", ""), smtp=("smtp", ""),
    echo=("imap", "echo.lua level=info"),
    capabilities=("imap", 'capabilities.lua remove="SORT MOVE" add="X-EXTRA"'),
    identifiers=("imap", "remove-client-identifiers.lua"),
    sent=("imap", "ignore-sent-upload.lua"),
    restore=("imap", "restore-safe-links.lua"),
    reveal=("imap", "reveal-links.lua"),
    replace=("imap", REPLACE),
    search=("imap", "fix-office365-search.lua"),
    uncompressed=("imap", "disable-deflate.lua"),
    deflate=("imap", "deflate"),
    chain=("imap", "echo.lua\n    restore-safe-links.lua\n    deflate"),
    trial=("imap", "trial.lua max_memory=16M"),
    pop_echo=("pop", "echo.lua level=info"),
    pop_replace=("pop", REPLACE),
    smtp_echo=("smtp", "echo.lua level=info"),
    smtp_identifiers=("smtp", "remove-client-identifiers.lua"),
    reactions=("smtp", "disable-reactions.lua allow=friends.example"),
    hole=("smtp", "black-hole.lua log=yes"),
    list=("smtp", 'mailing-list.lua list=team@real.test members="%s, %s" header=yes' % (FIRST, SECOND)),
    broken=("imap", "broken.lua"),
)

# Fails when it is told to, and at the third message.
TRIAL = """local messages = 0
function on_command(text, command)
  if command.name == 'XLOOP' then
    while true do end
  elseif command.name == 'XEAT' then
    local t = {}
    while true do t[#t + 1] = ('x'):rep(1000000) .. #t end
  end
end
function on_message(text, message)
  messages = messages + 1
  if messages == 3 then error('the third message') end
end
"""


def run(report, stage, binary):
    upstream = dict(imap=("IMAP", "imaps"), pop=("POP", "pop3s"), smtp=("SMTP", "submissions"))
    ports, servers = dict(zip(LISTENERS, free_ports(len(LISTENERS)))), []
    for name, (protocol, plugins) in LISTENERS.items():
        kind, port = upstream[protocol]
        options = dict(server_address="localhost", server_port=stage.port[port], local_address="127.0.0.1")
        if plugins:
            options["plugins"] = "\n    " + plugins
        servers.append(("%s-%d" % (kind, ports[name]), options))
    names = [user.split("@")[0] for user in (BIG, READER, FIRST, SECOND)]
    with Proxy(stage, binary, "plugins", servers, accounts(stage, names)) as proxy:
        (proxy.home / "trial.lua").write_text(TRIAL)
        (proxy.home / "broken.lua").write_text("function on_command(text, command)\n  if text then\n")
        proxy.ports.remove(ports["broken"])
        environment = dict(EMAILPROXY_PLUGINS=str(HERE.parent.parent / "plugins/samples"))
        if not report.check("plugins start", lambda: proxy.start(**environment).said()[:0]):
            return
        checks = Checks(stage, ports, proxy)
        for name in [name for name in vars(Checks) if not name.startswith("_")]:
            report.check("plugins " + name.replace("_", " "), getattr(checks, name))


class Checks:
    def __init__(self, stage, ports, proxy):
        self._stage, self._ports, self._proxy = stage, ports, proxy
        self._html = message(READER, "links", '<p>Go <a href="%s">to your bank</a>, number 7 of 9.</p>' % LINK.replace("&", "&amp;"), "text/html")
        self._text = message(READER, "text", "Number 5 is at\r\n%s\r\n.dot\r\n" % LINK)
        for text in (self._html, self._text):
            stage.deliver(READER, text.decode())
        self._kept = transcript(imap(stage, ports["plain"], BIG))

    # -- what must not change --

    def a_broken_script(self):
        """Its server is left out; the others are served, as all that follows shows."""
        self._proxy.wait_said(r"broken\.lua:3: .*near <eof>")
        need(not listening(self._ports["broken"]), "a server is served without its plugin")

    def everything_else_stays(self):
        """A mailbox, octet by octet, through every sample that has nothing to do there, and the big message."""
        octets = 0
        for name in "echo identifiers sent restore reveal search uncompressed deflate chain".split():
            if name in ("deflate", "chain") and not self._stage.compresses:
                continue
            wire = imap(self._stage, self._ports[name], BIG)
            got = transcript(wire)
            need(got == self._kept, "%s: %s" % (name, difference(self._kept, got)))
            body = big(wire)
            need(body == self._stage.big, "%s: %s" % (name, difference(self._stage.big, body)))
            octets += len(got) + len(body)
        return "%.0f MB alike" % (octets / 1e6)

    def everything_else_stays_pop(self):
        wires = [pop(self._stage, self._ports[name]) for name in ("pop", "pop_echo", "pop_replace")]
        count = int(pop_ask(wires[0], "STAT").split()[1])
        big = max(range(1, count + 1), key=lambda n: int(pop_ask(wires[0], "LIST %d" % n).split()[2]))
        for command in ["STAT", "CAPA", "LIST", "UIDL", "TOP 3 2", "RETR %d" % big, "RETR %d" % (count + 1)]:
            want, echoed, _ = (pop_ask(wire, command) for wire in wires)
            need(want == echoed, "%s: %s" % (command, difference(want, echoed)))
        want, _, replaced = (pop_ask(wire, "RETR 5") for wire in wires)
        want = re.sub(rb"Number (\d+)\r\n", rb"No. \1\r\n", want).partition(b"\r\n")
        need(b"No. " in replaced and replaced.partition(b"\r\n")[2] == want[2], difference(want[2], replaced))
        octets = re.match(rb"\+OK (\d+) octets", replaced)
        need(octets and int(octets[1]) == len(unstuffed(want[2])), "announced as %r, is %d" % (replaced[:40], len(unstuffed(want[2]))))
        for wire in wires:
            wire.close()

    # -- what samples do: IMAP --

    def echo(self):
        self._proxy.wait_said(r"echo\.lua: C: x3 FETCH")
        self._proxy.wait_said(r"echo\.lua: S: \* FLAGS")
        need(self._stage.accounts[BIG] not in self._proxy.said(), "the log has a password")

    def capabilities(self):
        plain, changed = (imap(self._stage, self._ports[name]) for name in ("plain", "capabilities"))
        words = lambda wire: ask(wire, "x1", "CAPABILITY").split(b"\r\n")[0].split()
        want = [word for word in words(plain) if word not in (b"SORT", b"MOVE")] + [b"X-EXTRA"]
        got = words(changed)
        need(got == want, "%r, and not %r" % (got, want))

    def remove_client_identifiers(self):
        extra = b"User-Agent: Spy/1.0\r\n (on a desk)\r\nX-Mailer: Spy\r\n"
        stored = large(uuid.uuid4().hex)
        wire = imap(self._stage, self._ports["identifiers"], READER)
        need(ask(wire, "x1", 'ID ("name" "spy" "version" "1")').startswith(b"* ID "), "ID is not answered")
        got = append(wire, "Drafts", extra + stored)
        need(got == stored, difference(stored, got))
        return "%d octets alike" % len(got)

    def ignore_sent_upload(self):
        wire = imap(self._stage, self._ports["sent"], READER)
        before = ask(wire, "x1", "STATUS Sent (MESSAGES UIDNEXT)").split(b"\r\n")[0]
        text = message(READER, "sent", "x\r\n" * 50000)
        wire.say("x2 APPEND Sent {%d}" % len(text))
        wire.until(r"^\+")
        wire.socket.sendall(text + b"\r\n")
        need(b"OK" in wire.until("^x2 ")[-1].encode(), "the APPEND is not accepted")
        after = ask(wire, "x3", "STATUS Sent (MESSAGES UIDNEXT)").split(b"\r\n")[0]
        need(before == after, "%r became %r" % (before, after))
        need(append(wire, "Drafts", text) == text, "another mailbox gets something else")

    def restore_safe_links_mbsync(self):
        want = mirrored(self._stage, READER, self._ports["plain"])
        got = mirrored(self._stage, READER, self._ports["restore"])
        restored = "https://shop.example/a?b=1"
        for name, text in want.items():
            text = text.replace(LINK.replace("&", "&amp;").encode(), restored.encode()).replace(LINK.encode(), restored.encode())
            need(got.get(name) == text, "%s: %s" % (name, difference(text, got.get(name, b""))))
        need(sum(want[name] != got[name] for name in want) == 2 and len(want) == len(got), "not two messages have changed")
        return "2 of %d messages changed" % len(want)

    def reveal_links_mutt(self):
        want, got = (piped(self._stage, READER, self._ports[name]) for name in ("plain", "reveal"))
        expected = want.replace(b"to your bank</a>", b"to your bank</a> [eur01.safelinks.protection.outlook.com]")
        need(want != expected and got == expected, difference(expected, got))

    def replace(self):
        plain, changed = (imap(self._stage, self._ports[name], BIG) for name in ("plain", "replace"))
        for wire in (plain, changed):
            ask(wire, "x1", "EXAMINE INBOX")
        fetch = lambda wire: ask(wire, "x2", "FETCH 1:200 (UID BODY.PEEK[])")
        pairs = list(zip(re.split(rb"(?m)^(?=\* \d+ FETCH )", fetch(plain)), re.split(rb"(?m)^(?=\* \d+ FETCH )", fetch(changed))))
        need(len(pairs) > 200, "%d messages" % len(pairs))
        for want, got in pairs:
            number = re.search(rb"Number (\d+)\r\n", want)
            if number and not want.startswith(b"x2"):
                less = len(b"Number ") - len(b"No. ")
                want = want.replace(number[0], b"No. %s\r\n" % number[1])
                want = re.sub(rb"\{(\d+)\}", lambda size: b"{%d}" % (int(size[1]) - less), want, count=1)
            need(timeless(got) == timeless(want), difference(want, got))

    def fix_office365_search(self):
        plain, fixed = (imap(self._stage, self._ports[name], BIG) for name in ("plain", "search"))
        for wire in (plain, fixed):
            ask(wire, "x1", "EXAMINE INBOX")
        found = lambda wire, keys: ask(wire, "x2", "SEARCH " + keys).split(b"\r\n")[0]
        want = found(plain, 'TEXT "number 17"')
        got = found(fixed, 'CHARSET UTF-8 BODY "NUMBER 17"')
        need(len(want.split()) > 2 and got == want, "%r, and not %r" % (got, want))
        need(found(fixed, 'SUBJECT "message 17"') == found(plain, 'SUBJECT "message 17"'), "other searches have changed")

    # -- compression --

    def disable_deflate(self):
        self._compressing()
        plain, without = (imap(self._stage, self._ports[name]) for name in ("plain", "uncompressed"))
        offers = [ask(wire, "x1", "CAPABILITY").split(b"\r\n")[0] for wire in (plain, without)]
        need(b"COMPRESS=DEFLATE" in offers[0], "Dovecot does not offer it")
        need(offers[1] == offers[0].replace(b" COMPRESS=DEFLATE", b""), "%r became %r" % tuple(offers))
        need(ask(without, "x2", "COMPRESS DEFLATE").startswith(b"x2 NO [CANNOT]"), "COMPRESS is not refused")
        need(ask(without, "x3", "NOOP").startswith(b"x3 OK"), "the session does not go on")

    def deflate_down_and_up(self):
        """(What comes down is compared in "everything else stays".)"""
        self._compressing()
        wire = imap(self._stage, self._ports["deflate"], READER)
        again = ask(wire, "x1", "COMPRESS DEFLATE")
        need(again.startswith(b"x1 NO"), "the server says %r and does not compress already" % again)
        sent = self._stage.big
        got = append(wire, "Drafts", sent)
        need(got == sent, difference(sent, got))
        return "%d octets alike, up and down again" % len(got)

    def deflate_mbsync(self):
        self._compressing()
        want, got = (mirrored(self._stage, READER, self._ports[name]) for name in ("plain", "deflate"))
        need(want == got, "the mailboxes differ")
        return "%d messages" % len(got)

    def _compressing(self):
        if not self._stage.compresses:
            raise Skip("this Dovecot has no imap_zlib; it comes with Debian's dovecot-imapd and dovecot-core")

    # -- SMTP --

    def smtp_echo_swaks(self):
        sent = message(FIRST, "echo", "X\r\n.dot\r\n" * 100)
        self._arrives("smtp_echo", sent, [FIRST], sent)
        self._proxy.wait_said(r"echo\.lua: C: MAIL FROM")

    def smtp_remove_client_identifiers_swaks(self):
        sent = message(FIRST, "identifiers", "User-Agent: not in the header\r\n")
        self._arrives("smtp_identifiers", b"X-Mailer: Spy\r\n\t(folded)\r\n" + sent, [FIRST], sent)

    def disable_reactions_swaks(self):
        sent = message(FIRST, "reactions", "x\r\n")
        self._arrives("reactions", sent, [FIRST], b"x-ms-reactions: disallow\r\n" + sent)

    def mailing_list_swaks(self):
        sent = message("team@real.test", "list", "team@real.test stays in the text\r\n")
        members = ("To: %s,\r\n %s\r\n" % (FIRST, SECOND)).encode()
        self._arrives("list", sent, [FIRST, SECOND], sent.replace(b"To: team@real.test\r\n", members), to="team@real.test")

    def black_hole_swaks(self):
        lost, kept = (message(FIRST, name, "x\r\n") for name in ("lost", "kept"))
        said = self._swaks("hole", lost, FIRST)
        need("250 2.0.0 Ok: swallowed" in said, "swaks was told something else")
        self._arrives("smtp", kept, [FIRST], kept)  # sent later, and there
        need(not self._stage.arrived(FIRST, mark(lost), seconds=0), "it has arrived")
        self._proxy.wait_said(r"swallowed a message of %d octets from %s to %s" % (len(lost), BIG, FIRST))

    def big_messages_swaks(self):
        """25 MB through each sample for SMTP: as changed as a small one, and no octet more."""
        body = "a line of the big message\r\n.dot\r\n" * (25 * 1024 * 1024 // 33)
        for name, to, extra, expected in (
                ("smtp_echo", FIRST, b"", lambda sent: sent),
                ("smtp_identifiers", FIRST, b"X-Mailer: Spy\r\n", lambda sent: sent),
                ("reactions", FIRST, b"", lambda sent: b"x-ms-reactions: disallow\r\n" + sent),
                ("list", "team@real.test", b"", lambda sent: sent.replace(b"To: team@real.test\r\n", b"To: %s,\r\n %s\r\n" % (FIRST.encode(), SECOND.encode()), 1))):
            sent = message(to, "big-" + name, body)
            self._arrives(name, extra + sent, [FIRST] if to == FIRST else [FIRST, SECOND], expected(sent), to=to)
        lost = message(FIRST, "big-lost", body)
        said = self._swaks("hole", lost, FIRST)  # more than `max_message`: the script does not see it
        need("250 2.0.0 Ok" in said and "swallowed" not in said, "swaks was told something else")
        kept = message(FIRST, "kept", "x\r\n")
        self._arrives("smtp", kept, [FIRST], kept)  # sent later, and there
        need(not self._stage.arrived(FIRST, mark(lost), seconds=0), "it has arrived")

    def _swaks(self, name, text, to):
        with Home(self._stage) as home:
            (home / "message").write_bytes(text[:-2])  # swaks ends the last line
            return tool_run(["swaks", "--server", "localhost", "--port", self._ports[name], "--from", BIG, "--to", to, "--auth", "PLAIN",
                             "--auth-user", BIG, "--auth-password", self._stage.accounts[BIG], "--data", "@%s/message" % home])[1]

    def _arrives(self, name, text, users, expected, to=None):
        """Sent by swaks, the message arrives as expected, behind the lines of those who carried it."""
        self._swaks(name, text, to or users[0])
        for user in users:
            path = self._stage.arrived(user, mark(text))
            need(path, "nothing arrives at " + user)
            stored, want = path.read_bytes().replace(b"\r\n", b"\n"), expected.replace(b"\r\n", b"\n")
            need(stored.endswith(want), difference(want, stored[-len(want):]))
            above = re.sub(rb"(?m)^[ \t].*\n", b"", stored[:-len(want)])
            names = {line.split(b":")[0].lower() for line in above.splitlines()}
            need(names <= {b"return-path", b"delivered-to", b"received"}, "more in the header: %r" % names)

    # -- scripts that fail --

    def faulty_scripts(self):
        """The session ends, the log says where the mistake is, and others go on. (A hundred others: tests/tests/plugins.rs.)"""
        others = [imap(self._stage, self._ports["trial"], READER) for _ in range(12)]
        ends = [("XLOOP", "trial.lua:4: it took more than 1000 ms"), ("XEAT", "not enough memory"), (None, "trial.lua:12: the third message")]
        for command, said in ends:
            wire = imap(self._stage, self._ports["trial"], READER)
            if command:
                wire.say("x1 " + command)
            else:
                ask(wire, "x1", "EXAMINE INBOX")
                for number in (1, 2):
                    need(ask(wire, "x2", "FETCH %d BODY.PEEK[]" % number).count(b"Subject") == 1, "message %d" % number)
                wire.say("x3 FETCH 3 BODY.PEEK[]")
            rest = wire.file.read()
            need(b"Subject" not in rest and b"OK" not in rest, "the session's last words: %r" % rest[-100:])
            self._proxy.wait_said("the plugin trial.lua failed: " + said)
            for other in others:
                need(ask(other, "x1", "NOOP").startswith(b"x1 OK"), "another session has ended too")
        need(len(re.findall("the plugin trial.lua failed", self._proxy.log.read_text())) == len(ends), "more sessions have ended")
        return "%d sessions ended, %d went on" % (len(ends), len(others))

    def graceful_end(self):
        code = self._proxy.end()
        need(code == 0, "exit code %d" % code)


def message(to, name, body, kind="text/plain"):
    head = "Subject: %s-%s\r\nFrom: %s\r\nTo: %s\r\nDate: Tue, 14 Nov 2023 22:00:00 +0000\r\nMessage-ID: <%s@real.test>\r\nMIME-Version: 1.0\r\n" % (
        name, uuid.uuid4().hex, BIG, to, uuid.uuid4().hex)
    return (head + "Content-Type: %s; charset=utf-8\r\n\r\n" % kind + body).encode()


def mark(text):
    return re.search(rb"Subject: (\S+)", text)[1].decode()


def ask(wire, tag, command):
    """The answer to an IMAP command, octet by octet, its literals included."""
    wire.say("%s %s" % (tag, command))
    answer = []
    while True:
        line = wire.file.readline()
        need(line, "closed while waiting for the answer to " + command)
        answer.append(line)
        size = re.search(rb"\{(\d+)\}\r\n$", line)
        if size:
            answer.append(wire.file.read(int(size[1])))
        elif line.startswith(tag.encode() + b" ") and len(answer[-2:]) and not (len(answer) > 1 and re.search(rb"\{\d+\}\r\n$", answer[-2])):
            return b"".join(answer)


def transcript(wire):
    """What an IMAP client is told that looks at all of its mailbox."""
    commands = ["CAPABILITY", 'LIST "" "*"', "EXAMINE INBOX", "FETCH 1:200 (UID RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)",
                "FETCH 1:200 (UID BODY.PEEK[])", "FETCH 1:50 (BODY.PEEK[HEADER] BODY.PEEK[TEXT]<1.40>)", "SEARCH LARGER 10000000"]
    said = [ask(wire, "x%d" % number, command) for number, command in enumerate(commands)]
    said[0] = said[0].replace(b" COMPRESS=DEFLATE", b"")  # compressed already, or nobody shall
    return timeless(b"".join(said))


def big(wire):
    """The big message, of the mailbox that is open."""
    number = ask(wire, "x8", "SEARCH LARGER 10000000").split()[2].decode()
    answer = ask(wire, "x9", "FETCH %s (BODY.PEEK[])" % number)
    size = re.search(rb"\{(\d+)\}\r\n", answer)
    need(answer[size.end() + int(size[1]):].startswith(b")\r\nx9 OK"), "something else follows the message")
    return answer[size.end():size.end() + int(size[1])]


def timeless(answer):
    """Without how long Dovecot took."""
    return re.sub(rb" \([0-9.]+ \+ [0-9.+ ]+ secs\)", b"", answer)


def pop_ask(wire, command):
    """The answer to a POP command, octet by octet."""
    wire.say(command)
    answer = [wire.file.readline()]
    if answer[0].startswith(b"+OK") and command.split()[0] in ("CAPA", "RETR", "TOP") or command in ("LIST", "UIDL"):
        while answer[-1] != b".\r\n":
            answer.append(wire.file.readline())
            need(answer[-1], "closed in the answer to " + command)
    return b"".join(answer)


def unstuffed(lines):
    return re.sub(rb"(?m)^\.", b"", lines[:-3])


def append(wire, mailbox, text):
    """Stores a message; what is in the mailbox then."""
    wire.say("x4 APPEND %s {%d}" % (mailbox, len(text)))
    wire.until(r"^\+")
    wire.socket.sendall(text + b"\r\n")
    need(wire.until("^x4 ")[-1].startswith("x4 OK"), "APPEND is refused")
    count = re.search(rb"\* (\d+) EXISTS", ask(wire, "x5", "SELECT " + mailbox))[1].decode()
    got = ask(wire, "x6", "FETCH %s (BODY.PEEK[])" % count)
    size = re.search(rb"\{(\d+)\}\r\n", got)
    return got[size.end():size.end() + int(size[1])]


def mirrored(stage, user, port):
    """The inbox as mbsync brings it: Message-ID -> message."""
    with Home(stage) as home:
        (home / "rc").write_text(
            "IMAPAccount r\nHost localhost\nPort %d\nUser %s\nPass %s\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount r\n\n"
            "MaildirStore near\nPath %s/\nInbox %s/INBOX\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n"
            % (port, user, quoted(stage.accounts[user]), home, home))
        tool_run(["mbsync", "-q", "-c", home / "rc", "c"], home=home)
        # Each message gets a number of mbsync's own.
        texts = [re.sub(rb"(?m)^X-TUID: .*\n", b"", path.read_bytes(), count=1) for sub in ("cur", "new") for path in (home / "INBOX" / sub).iterdir()]
        return {re.search(rb"(?mi)^Message-ID: (\S+)", text)[1].decode(): text for text in texts}


def piped(stage, user, port):
    """The message with links as mutt pipes it."""
    tool("mutt")
    with Home(stage) as home:
        (home / "rc").write_text(
            "set imap_user=%s\nset imap_pass=%s\nset ssl_starttls=no\nset ssl_force_tls=no\nset folder=\nset record=\nset postponed=\n"
            "set header_cache=\nset move=no\nset wait_key=no\nset mail_check=60\nunset tunnel\nset delete=no\n"
            % (quoted(user), quoted(stage.accounts[user]).replace("$", "\\$")))
        keys = 'push "<search>~s links-<enter><pipe-message>cat > %s/message<enter><exit>"' % home
        screen = on_terminal(["mutt", "-n", "-R", "-F", home / "rc", "-f", "imap://localhost:%d/INBOX" % port, "-e", keys],
                             dict(TERM="xterm", HOME=str(home), LC_ALL="C.UTF-8"), 40)
        need((home / "message").exists(), "no message; screen: %r" % screen[-200:])
        return (home / "message").read_bytes()


def difference(want, got):
    """Where two texts part."""
    at = next((at for at, (one, other) in enumerate(zip(want, got)) if one != other), min(len(want), len(got)))
    return "differs at octet %d of %d: %r, and not %r" % (at, len(want), got[max(at - 20, 0):at + 60], want[max(at - 20, 0):at + 60])
