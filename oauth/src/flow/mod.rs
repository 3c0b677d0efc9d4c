//! The OAuth 2.0 flows: requests out, answers in, no IO.
