//! The pages that the browser ends on: self-contained, without scripts, light or dark as the browser prefers.

use super::circumstances;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
};
use oauth::consent::{Granted, Who};

/// What is sent back.
pub(super) type Page = Response<Full<Bytes>>;

/// The token was obtained.
pub(super) fn success(who: &Who, granted: &Granted) -> Page {
    let account = &who.account;
    let text = format!("{account} can now be used from your mail program.");
    match &granted.other_person {
        None => html(
            StatusCode::OK,
            "Signed in",
            &text,
            "You can close this page.",
            Some(who),
        ),
        Some(other) => html(
            StatusCode::OK,
            "Signed in, by somebody else",
            &format!("The provider says that {other} approved, not {account}. {text}"),
            &format!(
                "If that is not what you meant, sign out at the provider and approve again as {account}: \
                 emailproxy authorise --fresh {account}"
            ),
            Some(who),
        ),
    }
}

/// The user came back, but there is no token.
pub(super) fn failure(who: &Who, why: &str) -> Page {
    html(
        StatusCode::BAD_GATEWAY,
        "Not signed in",
        &format!("{} is not signed in: {why}", who.account),
        "Check mail again in your mail program to start over; the proxy's log has the details.",
        Some(who),
    )
}

/// The request belongs to nobody who waits.
pub(super) fn refused(why: &str) -> Page {
    html(
        StatusCode::BAD_REQUEST,
        "Not accepted",
        why,
        "If the sign-in was finished already, close this page. Otherwise check mail again in your mail program to start over.",
        None,
    )
}

/// Anything else that a browser asks for, such as an icon.
pub(super) fn not_found() -> Page {
    plain(StatusCode::NOT_FOUND, "There is nothing here.\n")
}

/// Another method than GET.
pub(super) fn wrong_method() -> Page {
    let mut page = plain(
        StatusCode::METHOD_NOT_ALLOWED,
        "Only GET is answered here.\n",
    );
    page.headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET"));
    page
}

fn plain(status: StatusCode, text: &'static str) -> Page {
    finish(status, "text/plain; charset=utf-8", text.to_owned())
}

fn html(status: StatusCode, title: &str, text: &str, next: &str, who: Option<&Who>) -> Page {
    let (title, text, next) = (escape(title), escape(text), escape(next));
    let who = who.map_or_else(String::new, |who| {
        format!("<p class=\"who\">{}</p>", escape(&circumstances(who)))
    });
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} - emailproxy</title><style>\
         :root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:14vh auto 0;padding:0 1.5rem;\
         overflow-wrap:anywhere}}h1{{font-size:1.6rem;margin:0 0 .6rem}}.who{{opacity:.7;font-size:.9rem}}</style></head>\n\
         <body><main><h1>{title}</h1><p>{text}</p><p>{next}</p>{who}</main></body></html>\n"
    );
    finish(status, "text/html; charset=utf-8", body)
}

fn finish(status: StatusCode, kind: &'static str, body: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(body)));
    *page.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // The address of this page holds a code: nothing may be loaded from elsewhere, sent along or kept.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        page.headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    page
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_message_is_only_text() {
        assert_eq!(
            escape("<b a='1' c=\"2\">&\n"),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp; "
        );
    }
}
