//! The mail that every account starts with.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

/// Octets of the large message's attachment, decoded: 25 MB on the wire.
const LARGE: usize = 18_000_000;

/// Five messages, oldest first, with CRLF line ends.
pub(crate) fn messages(address: &str) -> Vec<(OffsetDateTime, Vec<u8>)> {
    let now = OffsetDateTime::now_utc();
    let attachment = BASE64_STANDARD.encode(leaflet());
    let attachment = wrap(&attachment);
    let texts: [(i64, String); 5] = [
        (
            4 * 24 * 60,
            format!(
                "From: The sandbox <postmaster@example.org>\nTo: {address}\nSubject: Welcome to the sandbox\n\
                 Message-ID: <welcome@sandbox.example.org>\nMIME-Version: 1.0\n\
                 Content-Type: text/plain; charset=utf-8\n\n\
                 Good to see you here.\n\nYour mail program said a user name and a password, as it always did. The\n\
                 server that this message came from has never heard of passwords: it wants\nan OAuth 2.0 access token. \
                 The proxy between the two fetched one for you.\n\nHave a look around, nothing here can break.\n"
            ),
        ),
        (
            3 * 24 * 60 + 125,
            format!(
                "From: =?utf-8?Q?Zo=C3=AB_M=C3=BCller?= <zoe@example.net>\nTo: {address}\n\
                 Subject: =?utf-8?B?{}?=\nMessage-ID: <kaffee@sandbox.example.net>\nMIME-Version: 1.0\n\
                 Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\
                 Grüß dich!\n\nUm drei am Brunnen, der Käsekuchen geht auf mich. 日本語もだいじょうぶ。\n\nZoë\n",
                BASE64_STANDARD.encode("Kaffee & Käsekuchen? ☕ 午後三時")
            ),
        ),
        (
            2 * 24 * 60 + 40,
            format!(
                "From: Hiking club <walks@example.com>\nTo: {address}\nSubject: Sunday walk, leaflet attached\n\
                 Message-ID: <walk@sandbox.example.com>\nMIME-Version: 1.0\n\
                 Content-Type: multipart/mixed; boundary=\"=-walk\"\n\n\
                 This message has several parts.\n--=-walk\n\
                 Content-Type: multipart/alternative; boundary=\"=-text\"\n\n--=-text\n\
                 Content-Type: text/plain; charset=us-ascii\n\nThe leaflet for Sunday is attached.\n\n--=-text\n\
                 Content-Type: text/html; charset=us-ascii\n\n<p>The <b>leaflet</b> for Sunday is attached.</p>\n\n\
                 --=-text--\n\n--=-walk\nContent-Type: application/octet-stream; name=\"leaflet.bin\"\n\
                 Content-Disposition: attachment; filename=\"leaflet.bin\"\nContent-Transfer-Encoding: base64\n\n\
                 {attachment}--=-walk--\n"
            ),
        ),
        (
            26 * 60,
            format!(
                "From: Postmaster <postmaster@example.org>\nTo: {address}\nSubject: Dots and long lines\n\
                 Message-ID: <dots@sandbox.example.org>\n\n\
                 .this line starts with a dot\n..this one with two\n.\nThe line above is a dot alone; POP and SMTP \
                 have to stuff it.\n{}\n",
                "long ".repeat(180)
            ),
        ),
        (
            55,
            format!(
                "From: Brook <brook@example.org>\nTo: {address}\nCc: list@example.com\nSubject: Re: Re: lunch\n\
                 Message-ID: <lunch-2@sandbox.example.org>\nIn-Reply-To: <lunch-1@sandbox.example.org>\n\
                 References: <lunch-0@sandbox.example.org> <lunch-1@sandbox.example.org>\n\n\
                 Noon it is. If you answer this, the reply lands in the sandbox's own\noutbox and goes nowhere else.\n"
            ),
        ),
    ];
    texts
        .into_iter()
        .map(|(minutes, text)| {
            let date = now - Duration::minutes(minutes);
            (date, with_date(date, &text))
        })
        .collect()
}

/// One message of about 25 MB with an attachment of numbered blocks.
pub(crate) fn large_message(address: &str) -> (OffsetDateTime, Vec<u8>) {
    let mut attachment = Vec::with_capacity(LARGE + 32);
    let mut number = 0_u64;
    while attachment.len() < LARGE {
        // Spread over all byte values, the same in every run.
        attachment.extend(number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        number += 1;
    }
    let date = OffsetDateTime::now_utc();
    let text = format!(
        "From: Camera <camera@example.net>\nTo: {address}\nSubject: All the pictures at once (25 MB)\n\
         Message-ID: <large@sandbox.example.net>\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"=-large\"\n\n--=-large\nContent-Type: text/plain\n\n\
         It is rather large.\n\n--=-large\nContent-Type: application/octet-stream; name=\"pictures.bin\"\n\
         Content-Disposition: attachment; filename=\"pictures.bin\"\nContent-Transfer-Encoding: base64\n\n\
         {}--=-large--\n",
        wrap(&BASE64_STANDARD.encode(attachment))
    );
    (date, with_date(date, &text))
}

/// Puts a `Date` in front, and CRLF at the line ends.
fn with_date(date: OffsetDateTime, text: &str) -> Vec<u8> {
    // RFC 2822 dates only fail before the year 1900.
    let date = date.format(&Rfc2822).unwrap_or_default();
    format!("Date: {date}\n{text}")
        .replace('\n', "\r\n")
        .into_bytes()
}

/// Lines of 76 characters.
fn wrap(base64: &str) -> String {
    let mut out = String::with_capacity(base64.len() + base64.len() / 70);
    let mut rest = base64;
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(76));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out
}

/// A small binary attachment: every byte value, four times.
fn leaflet() -> Vec<u8> {
    (0..4).flat_map(|_| 0..=u8::MAX).collect()
}
