//! The pages that the browser ends on: self-contained, without scripts, light or dark as the browser prefers.

use super::circumstances;
use crate::messages::{common, consent as texts, sentence};
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
    match &granted.other_person {
        None => html(
            StatusCode::OK,
            texts::PAGE_SIGNED_IN,
            &sentence(&texts::usable_now(account)),
            &sentence(texts::CLOSE_THE_PAGE),
            Some(who),
        ),
        Some(other) => html(
            StatusCode::OK,
            texts::PAGE_SIGNED_IN_BY,
            &texts::usable_now_by(account, other),
            // No full stop: its end is a command.
            &texts::approve_again(account),
            Some(who),
        ),
    }
}

/// The user came back, but there is no token.
pub(super) fn failure(who: &Who, why: &str) -> Page {
    html(
        StatusCode::BAD_GATEWAY,
        texts::PAGE_NOT_SIGNED_IN,
        &sentence(&texts::not_signed_in(&who.account, why)),
        &sentence(texts::START_OVER),
        Some(who),
    )
}

/// The request belongs to nobody who waits.
pub(super) fn refused(why: &str) -> Page {
    html(
        StatusCode::BAD_REQUEST,
        texts::PAGE_NOT_ACCEPTED,
        &sentence(why),
        texts::CLOSE_OR_START_OVER,
        None,
    )
}

/// Anything else that a browser asks for, such as an icon.
pub(super) fn not_found() -> Page {
    plain(StatusCode::NOT_FOUND, common::NOTHING_HERE)
}

/// Another method than GET.
pub(super) fn wrong_method() -> Page {
    let mut page = plain(StatusCode::METHOD_NOT_ALLOWED, common::ONLY_GET);
    page.headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET"));
    page
}

fn plain(status: StatusCode, text: &str) -> Page {
    let text = format!("{}\n", sentence(text));
    finish(status, "text/plain; charset=utf-8", text)
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
