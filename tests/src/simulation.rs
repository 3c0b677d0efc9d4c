//! Dialogues from a stream of choices.
