//! Writes an SVG image, without scripts or external content, and with all text escaped.

use std::fmt::Write as _;

use crate::terminal::escape;

/// An SVG image under construction.
pub(super) struct Image(String);

impl Image {
    pub(super) fn new(width: f64, height: f64, style: &str) -> Self {
        let mut image = Self(String::new());
        image.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">"
        ));
        image.line(format_args!("<style>{style}</style>"));
        image.line(format_args!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
        ));
        image
    }

    pub(super) fn finish(mut self) -> String {
        self.line(format_args!("</svg>"));
        self.0
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escape::xml(text);
        self.line(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>"
        ));
    }

    /// Draws a rectangle, given its left upper corner, width and height.
    pub(super) fn bar(&mut self, place: [f64; 4], class: &str) {
        let [x, y, width, height] = place;
        self.line(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             class=\"{class}\"/>"
        ));
    }

    /// Draws a vertical line at `x`.
    pub(super) fn upright(&mut self, x: f64, [top, bottom]: [f64; 2], class: &str) {
        self.line(format_args!(
            "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" \
             class=\"{class}\"/>"
        ));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Checks that elements are nested correctly and that no text is mistaken for one.
#[cfg(test)]
pub(super) fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{text}");
        for reference in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let (name, _) = reference.split_once(';').expect("a reference ends");
            assert!(
                ["amp", "lt", "gt", "quot", "apos"].contains(&name),
                "{name}"
            );
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag.ends_with('/') => {}
            None => open.extend(tag.split_whitespace().next()),
        }
    }
    assert!(open.is_empty(), "{open:?} are open");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_well_formed() {
        let mut image = Image::new(10.0, 20.0, "text { fill: #222 }");
        image.text(1.0, 2.0, "x", "a < b & c");
        image.bar([1.0, 2.0, 3.0, 4.0], "y");
        image.upright(1.0, [2.0, 3.0], "z");
        assert_well_formed(&image.finish());
    }
}
