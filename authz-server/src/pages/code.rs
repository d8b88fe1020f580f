//! A QR code as inline SVG.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode};

/// Modules of quiet zone around the code (ISO/IEC 18004 §9.1).
const QUIET: usize = 4;
/// What a screen can show and a phone can read.
const MAX_BYTES: usize = 512;

/// The dark modules of a QR code. Text that only shapes are made of: nothing of the content is in the markup.
pub(crate) struct Code {
    /// Modules on one side, with the quiet zone.
    pub(super) side: usize,
    /// An SVG path: one stroke per run of dark modules.
    pub(super) path: String,
}

impl Code {
    /// The code for `content`; `None` when it is too long.
    pub(crate) fn new(content: &str) -> Option<Self> {
        if content.len() > MAX_BYTES {
            return None;
        }
        let code = QrCode::with_error_correction_level(content, EcLevel::M).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (y, row) in code.to_colors().chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|left, right| left == right) {
                if run.first() == Some(&Color::Dark) {
                    let (left, top, length) = (x + QUIET, y + QUIET, run.len());
                    // Writing to a String cannot fail.
                    let _ = write!(path, "M{left} {top}h{length}v1h-{length}z");
                }
                x += run.len();
            }
        }
        Some(Self {
            side: width + 2 * QUIET,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_has_every_dark_module_and_nothing_else() {
        let content = "otpauth://totp/Edge%20Hive:ana?secret=JBSWY3DPEHPK3PXP&issuer=Edge%20Hive";
        let code = Code::new(content).unwrap();
        let drawn: usize = code
            .path
            .split('M')
            .skip(1)
            .map(|run| {
                let length = run.split('h').nth(1).unwrap();
                length.split('v').next().unwrap().parse::<usize>().unwrap()
            })
            .sum();
        let dark = QrCode::with_error_correction_level(content, EcLevel::M)
            .unwrap()
            .to_colors()
            .iter()
            .filter(|color| **color == Color::Dark)
            .count();
        assert_eq!(drawn, dark);
        assert!(code.path.bytes().all(|byte| b"Mhvz- 0123456789".contains(&byte)));
    }

    #[test]
    fn what_is_too_long_has_no_code() {
        assert!(Code::new(&"a".repeat(MAX_BYTES + 1)).is_none());
    }
}
