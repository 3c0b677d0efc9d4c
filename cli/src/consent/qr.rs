//! Addresses as QR codes: for a terminal, in half blocks, and as SVG.

use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write;

/// White modules around the code (ISO/IEC 18004 §5.3.8).
const QUIET: usize = 4;

/// The text as a QR code in SVG: black on white whatever the page's colours, without styles or scripts, as large as its surroundings
/// make it. `None` where it is too long for a code (some 2,900 octets).
pub fn qr_svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let side = code.width() + 2 * QUIET;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\" \
         aria-label=\"QR code\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
    );
    for y in 0..side {
        let mut x = 0;
        while x < side {
            let begin = x;
            while x < side && is_dark(&code, x, y) {
                x += 1;
            }
            if x > begin {
                // Writing to a string cannot fail.
                let _ = write!(
                    svg,
                    "M{begin} {y}h{length}v1h-{length}z",
                    length = x - begin
                );
            }
            x += 1;
        }
    }
    svg.push_str("\"/></svg>");
    Some(svg)
}

/// The text as a QR code of half blocks, two rows of modules in a line, black on white whatever the terminal's colours. `None` where it
/// would be wider than the terminal.
pub(super) fn for_terminal(text: &str, columns: usize) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    // Half a quiet zone is enough for cameras, and saves lines.
    let margin = QUIET / 2;
    let side = code.width() + 2 * margin;
    if side > columns {
        return None;
    }
    let shift = QUIET - margin;
    let dark = |x: usize, y: usize| is_dark(&code, x + shift, y + shift);
    let mut lines = String::new();
    for y in (0..side).step_by(2) {
        // Black characters on bright white: neither may be a colour that a theme turns round.
        lines.push_str("\x1b[38;5;16;48;5;231m");
        for x in 0..side {
            lines.push(match (dark(x, y), y + 1 < side && dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        lines.push_str("\x1b[0m\n");
    }
    Some(lines)
}

/// The module at this place of the code with its quiet zone.
fn is_dark(code: &QrCode, x: usize, y: usize) -> bool {
    let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < code.width());
    match (inside(x), inside(y)) {
        (Some(x), Some(y)) => code[(x, y)] == Color::Dark,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_in_the_terminal_has_its_finder_patterns_and_fits() {
        let code = for_terminal("https://p.example/device", 80).expect("a code");
        let lines: Vec<&str> = code
            .lines()
            .map(|line| {
                let line = line
                    .strip_prefix("\x1b[38;5;16;48;5;231m")
                    .expect("colours");
                line.strip_suffix("\x1b[0m").expect("an end")
            })
            .collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        // Top left: the quiet zone, then a finder pattern's upper edge with its left side below it.
        assert!(lines[0].trim().is_empty());
        assert!(lines[1].starts_with("  █▀▀▀▀▀█ "), "{code}");
        assert!(lines[1].ends_with(" █▀▀▀▀▀█  "), "{code}");
        assert_eq!(for_terminal("https://p.example/device", width - 1), None);
    }

    #[test]
    fn a_code_in_svg_has_neither_styles_nor_scripts_nor_the_text() {
        let svg = qr_svg("https://p.example/?a=<b>&c").expect("a code");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
        // The upper edge of the first finder pattern is seven modules long.
        assert!(svg.contains("M4 4h7v1h-7z"), "{svg}");
        for not in ["style", "script", "example"] {
            assert!(!svg.contains(not), "{svg}");
        }
        assert_eq!(qr_svg(&"x".repeat(3_000)), None);
    }
}
