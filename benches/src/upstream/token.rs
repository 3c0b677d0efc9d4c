//! A token endpoint (RFC 6749 §3.2) that gives everybody the same token.

use super::access_token;
use crate::wire::Wire;
use std::io;

/// One request and its answer.
pub(super) fn serve(wire: &mut Wire) -> io::Result<()> {
    let mut length = 0;
    loop {
        let line = String::from_utf8_lossy(&wire.line()?).to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    wire.skip(length)?;
    let answer = format!(
        r#"{{"access_token":"{}","token_type":"Bearer","expires_in":86400}}"#,
        access_token()
    );
    wire.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    ))
}
