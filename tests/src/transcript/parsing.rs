//! Reading a transcript file.

use super::matching::{ExpectedEvent, ExpectedLine, Mode, Piece};
use super::{Input, Stage, Transcript};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proxy_proto::{
    Limits, LocalTls, Mechanism, Protocol, Refusal, SessionConfig, Side, Time, UpstreamTls,
};
use std::time::Duration;

/// Reads a transcript.
///
/// # Errors
/// One line that names the file and the line.
pub fn parse(name: &str, text: &str) -> Result<Transcript, String> {
    let mut transcript = None;
    let mut commented = false;
    let mut stage = Stage::default();
    let mut expecting = false;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let fail = |why: String| format!("{name}:{number}: {why}");
        if line.ends_with([' ', '\t']) {
            return Err(fail("blanks at the end of a line: write \\x20".into()));
        }
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            commented = true;
            continue;
        }
        if let Some(header) = line.strip_prefix("@ ") {
            if transcript.is_some() {
                return Err(fail("a second header".into()));
            }
            transcript = Some(read_header(name, header).map_err(fail)?);
            continue;
        }
        let Some(transcript) = transcript.as_mut() else {
            return Err(fail("the header (@ imap …) comes first".into()));
        };
        match read_line(line, number).map_err(fail)? {
            Line::Input(input) => {
                if expecting {
                    transcript.stages.push(std::mem::take(&mut stage));
                    expecting = false;
                }
                if stage.inputs.is_empty() {
                    stage.line = number;
                }
                match (input, stage.inputs.last_mut()) {
                    (Input::Bytes(side, more), Some(Input::Bytes(last, bytes)))
                        if side == *last =>
                    {
                        bytes.extend(more);
                    }
                    (input, _) => stage.inputs.push(input),
                }
            }
            Line::Nothing => expecting = true,
            Line::Sent(side, expected) => {
                expecting = true;
                stage.sent[usize::from(side == Side::Server)].push(expected);
            }
            Line::Event(event) => {
                expecting = true;
                stage.events.push(event);
            }
        }
    }
    let Some(mut transcript) = transcript else {
        return Err(format!("{name}: no header"));
    };
    if !expecting {
        return Err(format!("{name}: it must end with an expectation"));
    }
    transcript.stages.push(stage);
    transcript.commented = commented;
    Ok(transcript)
}

enum Line {
    Input(Input),
    Nothing,
    Sent(Side, ExpectedLine),
    Event(ExpectedEvent),
}

fn read_line(line: &str, number: usize) -> Result<Line, String> {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    let sent = |side, mode| {
        let (pieces, crlf) = read_pieces(rest)?;
        Ok(Line::Sent(
            side,
            ExpectedLine {
                line: number,
                mode,
                pieces,
                crlf,
                source: line.to_owned(),
            },
        ))
    };
    let event = |optional| {
        let (pieces, _) = read_pieces(rest)?;
        Ok(Line::Event(ExpectedEvent {
            line: number,
            optional,
            pieces,
            source: line.to_owned(),
        }))
    };
    match mark {
        "c>" => Ok(Line::Input(Input::Bytes(Side::Client, read_input(rest)?))),
        "s>" => Ok(Line::Input(Input::Bytes(Side::Server, read_input(rest)?))),
        "<c" => sent(Side::Client, Mode::Exact),
        "<s" => sent(Side::Server, Mode::Exact),
        "<c?" => sent(Side::Client, Mode::Optional),
        "<s?" => sent(Side::Server, Mode::Optional),
        "<c~" => sent(Side::Client, Mode::Unordered),
        "<s~" => sent(Side::Server, Mode::Unordered),
        "-" => Ok(Line::Nothing),
        "!" => event(false),
        "!?" => event(true),
        "=" => Ok(Line::Input(read_action(rest)?)),
        _ => Err(format!("{mark:?} is no mark of a transcript")),
    }
}

fn read_action(text: &str) -> Result<Input, String> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let plain = |text: &str| -> Result<String, String> {
        let mut bytes = read_input(text)?;
        bytes.truncate(bytes.len().saturating_sub(2));
        String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
    };
    match verb {
        "token" => read_token(rest, plain),
        "advance" => Ok(Input::Advance(read_duration(rest)?)),
        "eof" => Ok(Input::Eof(read_side(rest)?)),
        "tls-ok" => Ok(Input::TlsOk(read_side(rest)?)),
        "tls-fail" => {
            let (side, why) = rest.split_once(' ').unwrap_or((rest, "handshake failure"));
            Ok(Input::TlsFail(read_side(side)?, why.to_owned()))
        }
        "connected" | "reconnected" => Ok(Input::Connected),
        "connect-fail" => Ok(Input::ConnectFail(rest.to_owned())),
        "shutdown" => Ok(Input::Shutdown),
        "quiet" => Ok(Input::Quiet),
        _ => Err(format!("{verb:?} is no action")),
    }
}

fn read_token(rest: &str, plain: impl Fn(&str) -> Result<String, String>) -> Result<Input, String> {
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let token = match first {
        "denied" => return Ok(Input::Refuse(Refusal::Denied(plain(rest)?))),
        "temporary" => return Ok(Input::Refuse(Refusal::Temporary(plain(rest)?))),
        "stale" => return Ok(Input::Stale),
        "ok" => "T".to_owned(),
        token => plain(token)?,
    };
    let (mut user, mut mechanism) = (None, None);
    for option in rest.split_whitespace() {
        match option.split_once('=') {
            Some(("user", value)) => user = Some(plain(value)?),
            Some(("mechanism", "XOAUTH2")) => mechanism = Some(Mechanism::XOAuth2),
            Some(("mechanism", "OAUTHBEARER")) => mechanism = Some(Mechanism::OAuthBearer),
            _ => return Err(format!("{option:?} is no option of a token")),
        }
    }
    Ok(Input::Token {
        token,
        user,
        mechanism,
    })
}

fn read_side(text: &str) -> Result<Side, String> {
    match text {
        "client" => Ok(Side::Client),
        "server" => Ok(Side::Server),
        _ => Err(format!("{text:?} is neither client nor server")),
    }
}

fn read_duration(text: &str) -> Result<Time, String> {
    let seconds = text.strip_suffix('s').and_then(|text| text.parse().ok());
    let seconds = seconds.ok_or_else(|| format!("{text:?} is no time such as 30s"))?;
    Ok(Duration::from_secs(seconds))
}

fn read_header(name: &str, header: &str) -> Result<Transcript, String> {
    let mut words = header.split_whitespace();
    let protocol = match words.next() {
        Some("imap") => Protocol::Imap,
        Some("pop") => Protocol::Pop,
        Some("smtp") => Protocol::Smtp,
        other => return Err(format!("{other:?} is no protocol")),
    };
    let mut config = SessionConfig::new(protocol);
    let (mut host, mut connect, mut residue) = ("mail.example".to_owned(), true, false);
    let mut port = match protocol {
        Protocol::Imap => 993,
        Protocol::Pop => 995,
        Protocol::Smtp => 465,
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (key, value) {
            ("server_starttls", "required") => config.upstream_tls = UpstreamTls::StartTls,
            ("server_tls", "none") => {
                config.upstream_tls = UpstreamTls::DangerousPlaintextBearerInClear;
            }
            ("local_starttls", "required") => config.local_tls = LocalTls::StartTlsRequired,
            ("local_starttls", "optional") => config.local_tls = LocalTls::StartTlsOptional,
            ("local_tls", "implicit") => config.local_tls = LocalTls::Implicit,
            ("dialogue", "on") => config.dialogue = true,
            ("connect", "later") => connect = false,
            ("residue", "") => residue = true,
            ("host", value) => host = value.to_owned(),
            ("port", value) => port = value.parse().map_err(|_| format!("{value:?} is no port"))?,
            (key, value) => match key.strip_prefix("limit.") {
                Some(limit) => read_limit(&mut config.limits, limit, value)?,
                None => return Err(format!("{word:?} is no option of the header")),
            },
        }
    }
    Ok(Transcript {
        name: name.to_owned(),
        commented: false,
        config,
        host,
        port,
        connect,
        residue,
        stages: Vec::new(),
    })
}

fn read_limit(limits: &mut Limits, name: &str, value: &str) -> Result<(), String> {
    let times = [
        ("server_answer", &mut limits.server_answer),
        ("before_login", &mut limits.before_login),
        ("consent", &mut limits.consent),
        ("keepalive", &mut limits.keepalive),
        ("drain", &mut limits.drain),
    ];
    for (known, time) in times {
        if known == name {
            *time = read_duration(value)?;
            return Ok(());
        }
    }
    let number = value
        .parse()
        .map_err(|_| format!("limit.{name}: {value:?} is no number"))?;
    let sizes = [
        ("imap_line", &mut limits.imap_line),
        ("imap_literal", &mut limits.imap_literal),
        ("line", &mut limits.line),
        ("server_line", &mut limits.server_line),
        ("capabilities", &mut limits.capabilities),
        ("held", &mut limits.held),
        ("send_buffer", &mut limits.send_buffer),
    ];
    for (known, size) in sizes {
        if known == name {
            *size = number;
            return Ok(());
        }
    }
    if name == "errors" {
        limits.errors = u32::try_from(number).map_err(|why| why.to_string())?;
        return Ok(());
    }
    Err(format!("there is no limit {name:?}"))
}

fn read_input(text: &str) -> Result<Vec<u8>, String> {
    let (pieces, crlf) = read_pieces(text)?;
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(more) => bytes.extend(more),
            _ => return Err("an input line has one form only".into()),
        }
    }
    if crlf {
        bytes.extend(b"\r\n");
    }
    Ok(bytes)
}

/// The pieces of a line's text and whether CRLF ends it.
fn read_pieces(text: &str) -> Result<(Vec<Piece>, bool), String> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    let mut crlf = true;
    while let Some(first) = rest.chars().next() {
        let macro_end = || closing_brace(rest).ok_or("a macro without its }");
        if rest == "\\" {
            crlf = false;
            rest = "";
        } else if rest == "…" {
            pieces.extend(take(&mut bytes));
            pieces.push(Piece::Rest);
            rest = "";
        } else if first == '\\' {
            rest = read_escape(rest, &mut bytes)?;
        } else if let Some(body) = rest.strip_prefix("{b64:") {
            let end = macro_end()?;
            let mut plain = read_input(&body[..end - "{b64:".len()])?;
            plain.truncate(plain.len() - 2);
            bytes.extend(BASE64_STANDARD.encode(plain).bytes());
            rest = &rest[end + 1..];
        } else if let Some(body) = rest.strip_prefix("{repeat:") {
            let end = macro_end()?;
            let body = &body[..end - "{repeat:".len()];
            let (count, unit) = body.split_once(':').ok_or("{repeat:COUNT:TEXT}")?;
            let count: usize = count
                .parse()
                .map_err(|_| format!("{count:?} is no count"))?;
            let mut unit = read_input(unit)?;
            unit.truncate(unit.len() - 2);
            bytes.extend(unit.repeat(count));
            rest = &rest[end + 1..];
        } else if let Some(body) = rest.strip_prefix("{words:") {
            let end = macro_end()?;
            let words = body[..end - "{words:".len()].split(' ');
            pieces.extend(take(&mut bytes));
            pieces.push(Piece::Words(
                words.map(|word| word.as_bytes().to_vec()).collect(),
            ));
            rest = &rest[end + 1..];
        } else if let Some(body) = rest.strip_prefix("{any:") {
            let end = macro_end()?;
            let choices = body[..end - "{any:".len()].split('|');
            pieces.extend(take(&mut bytes));
            pieces.push(Piece::Any(
                choices.map(|choice| choice.as_bytes().to_vec()).collect(),
            ));
            rest = &rest[end + 1..];
        } else {
            bytes.extend(first.to_string().bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    pieces.extend(take(&mut bytes));
    Ok((pieces, crlf))
}

/// Where the brace that `text` begins with is closed; escaped braces do not count.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0usize, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn take(bytes: &mut Vec<u8>) -> Option<Piece> {
    (!bytes.is_empty()).then(|| Piece::Bytes(std::mem::take(bytes)))
}

fn read_escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let body = &text[1..];
    if let Some(hex) = body.strip_prefix('x') {
        let digits = hex.get(..2).ok_or("\\x needs two digits")?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits}"))?);
        return Ok(&hex[2..]);
    }
    for (mark, byte) in [('\\', b'\\'), ('0', 0), ('{', b'{'), ('}', b'}')] {
        if let Some(rest) = body.strip_prefix(mark) {
            bytes.push(byte);
            return Ok(rest);
        }
    }
    Err(format!("unknown escape in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_macros_become_bytes() {
        assert_eq!(read_input("a\\x41\\\\b").unwrap(), b"aA\\b\r\n");
        assert_eq!(
            read_input("{b64:\\0u\\0p} {4}").unwrap(),
            b"AHUAcA== {4}\r\n"
        );
        assert_eq!(read_input("{repeat:3:ab}\\").unwrap(), b"ababab");
        assert_eq!(
            read_input("{b64:{repeat:3:a}\\}}").unwrap(),
            b"YWFhfQ==\r\n"
        );
        assert!(read_input("x…").is_err());
        assert!(read_input("\\q").is_err());
    }

    #[test]
    fn faults_name_file_and_line() {
        let fault = |text| parse("x.txt", text).err().unwrap();
        assert!(fault("@ imap\nc> a ").contains("x.txt:2: blanks"));
        assert!(fault("c> a\n").contains("x.txt:1: the header"));
        assert!(fault("@ imap colour=red\n").contains("x.txt:1: \"colour=red\""));
        assert!(fault("@ imap\n= leap\n").contains("x.txt:2: \"leap\""));
        assert!(fault("@ imap\nc> a\n").contains("must end with an expectation"));
    }
}
