//! Plots the ratios as bars on a logarithmic scale.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::report::{Report, Row, ratio};
use super::svg::Image;
use crate::terminal::failure::Failure;

/// Pixels.
const WIDTH: f64 = 880.0;
const MARGIN: f64 = 20.0;
const TOP: f64 = 110.0;
const LINE: f64 = 20.0;
const BAR: f64 = 12.0;
/// The area of the bars. Labels are to its left, numbers to the right of each bar.
const LEFT: f64 = 310.0;
const RIGHT: f64 = WIDTH - 70.0;
/// The minimum range of the scale.
const LEAST: f64 = 0.5;
const MOST: f64 = 10.0;
/// The number of characters of the module's path that fit.
const TITLE: usize = 80;

const STYLE: &str = "\
text { font: 12px sans-serif; fill: #222 } .title { font-size: 16px } .heading { font-weight: bold } \
.middle { text-anchor: middle } .end { text-anchor: end } .grid { stroke: #ddd } \
.one { stroke: #222; stroke-width: 1.5 } .better { fill: #3a7f5a } .worse { fill: #c2703d }";

/// The file for the image. It is checked first, since measuring takes long.
pub(super) struct Plot {
    path: PathBuf,
}

impl Plot {
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        let plot = Self {
            path: path.to_owned(),
        };
        let created = if path.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            plot.create()
        };
        match created {
            // Removed again, since an interrupted measurement would leave it there.
            Ok(_removed) => Ok(plot),
            Err(error) => Err(refused(path, error)),
        }
    }

    pub(super) fn write(&self, report: &Report) -> Result<(), Failure> {
        let write = || {
            let mut file = self.create()?;
            file.write_all(svg(report).as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file.persist(&self.path)?)
        };
        write()
            .map(|_file| ())
            .map_err(|error| refused(&self.path, error))
    }

    /// Creates a temporary file beside the plot, to be renamed.
    fn create(&self) -> io::Result<NamedTempFile> {
        let name = self.path.file_name();
        let name = name
            .ok_or(io::ErrorKind::InvalidFilename)?
            .to_string_lossy();
        let directory = self.path.parent().filter(|path| *path != Path::new(""));
        tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            // As for any other file, the umask applies.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory.unwrap_or(Path::new(".")))
    }
}

fn refused(path: &Path, error: io::Error) -> Failure {
    Failure::because(format!("cannot write the plot {}", path.display()), error)
        .hint("--plot must name a file in an existing directory that you can write to")
}

fn svg(report: &Report) -> String {
    let rows: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| row.ratio.is_some())
        .collect();
    let groups = rows.chunk_by(|one, next| one.group == next.group);
    let bottom = TOP + LINE * (rows.len() + groups.clone().count()) as f64;
    let scale = Scale::for_ratios(rows.iter().filter_map(|row| row.ratio));
    let mut image = Image::new(WIDTH, bottom + 2.0 * MARGIN, STYLE);
    let title = format!("watm bench {}", shortened(&report.module));
    image.text(MARGIN, 30.0, "title", &title);
    image.text(MARGIN, 50.0, "", report.route());
    let legend =
        "ratio to raw TCP (or to a relay that only copies): green is better, orange is worse";
    image.text(MARGIN, 68.0, "", legend);
    scale.draw(&mut image, bottom);
    let mut y = TOP;
    for rows in groups {
        if let Some(first) = rows.first() {
            y += LINE;
            image.text(MARGIN, y - 5.0, "heading", first.group.heading());
        }
        for row in rows {
            y += LINE;
            draw(row, &scale, y, &mut image);
        }
    }
    image.finish()
}

/// Draws the label, bar and number of a row, in the line that ends at `y`.
fn draw(row: &Row, scale: &Scale, y: f64, image: &mut Image) {
    let Some(value) = row.ratio else { return };
    let (one, end) = (scale.x(1.0), scale.x(value));
    let better = (value >= 1.0) == row.unit.more_is_better();
    let class = if better { "better" } else { "worse" };
    image.text(LEFT - 10.0, y - 5.0, "end", &label(row));
    let place = [one.min(end), y - LINE + 4.0, (end - one).abs(), BAR];
    image.bar(place, class);
    image.text(one.max(end) + 5.0, y - 5.0, "", &ratio(value));
}

fn label(row: &Row) -> String {
    let mut label = row.name.to_owned();
    // Writing to a string cannot fail.
    if let Some(size) = row.size {
        let _ = write!(label, ", {size} bytes");
    }
    if let Some(connections) = row.connections.filter(|connections| *connections > 1) {
        let _ = write!(label, ", {connections} conns");
    }
    label
}

/// Shortens a path at its beginning, since its end says more.
fn shortened(path: &str) -> String {
    match path.char_indices().rev().nth(TITLE) {
        None => path.to_owned(),
        Some((cut, first)) => format!("...{}", &path[cut + first.len_utf8()..]),
    }
}

/// Maps ratios to positions.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn for_ratios(ratios: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (LEAST, MOST);
        for ratio in ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0) {
            least = least.min(ratio);
            most = most.max(ratio);
        }
        Self { least, most }
    }

    fn x(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.least, self.most);
        let part = (ratio / self.least).ln() / (self.most / self.least).ln();
        LEFT + part * (RIGHT - LEFT)
    }

    /// A line for each 1, 2 and 5 of a power of ten.
    fn ticks(&self) -> Vec<f64> {
        let [first, last] = [self.least, self.most].map(|end| end.log10().floor() as i32);
        (first..=last)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
            // Powers are not exact.
            .filter(|tick| (self.least * 0.999..=self.most * 1.001).contains(tick))
            .collect()
    }

    fn draw(&self, image: &mut Image, bottom: f64) {
        for tick in self.ticks() {
            let x = self.x(tick);
            image.upright(x, [TOP, bottom], "grid");
            image.text(x, TOP - 8.0, "middle", &format!("{tick}"));
        }
        image.upright(self.x(1.0), [TOP - 4.0, bottom], "one");
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Pair;
    use super::super::report::Unit;
    use super::super::svg::assert_well_formed;
    use super::*;
    use crate::args::BenchGroup as Group;
    use std::fs;

    fn row(group: Group, name: &'static str, tcp: f64, module: f64) -> Row {
        let mut pair = Pair::default();
        pair.push(tcp, module);
        Row::compared(group, name, Unit::Seconds, &pair, 0.5).size(64)
    }

    fn report(module: &str) -> Report {
        let rows = vec![
            row(Group::OneWay, "out <&>", 1.0, 20.0),
            row(Group::Relay, "relay", 2.0, 1.0),
            Row::new(Group::Idle, "without a ratio", Unit::Bytes, 1.0),
        ];
        Report::of_rows(module, rows)
    }

    #[test]
    fn the_image_is_xml_whatever_the_path_is() {
        let image = svg(&report("a<b>&\"'\u{1}.wasm"));
        assert_well_formed(&image);
        assert!(image.contains("a&lt;b&gt;&amp;&quot;&apos;\\u{1}.wasm"));
        assert!(!image.contains("script"));
    }

    #[test]
    fn rows_with_a_ratio_are_bars_with_numbers() {
        let image = svg(&report("m"));
        for part in [
            "out &lt;&amp;&gt;, 64 bytes",
            ">20.00<",
            ">0.50<",
            "one direction",
        ] {
            assert!(image.contains(part), "{part} in {image}");
        }
        assert!(!image.contains("without a ratio"));
        assert_eq!(image.matches("\"better\"").count(), 1, "{image}");
        assert_eq!(image.matches("\"worse\"").count(), 1, "{image}");
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        assert_eq!(shortened("m.wasm"), "m.wasm");
        let long = format!("{}/m.wasm", "ä".repeat(200));
        let short = shortened(&long);
        assert!(short.starts_with("...ä") && short.ends_with("/m.wasm"));
        assert_eq!(short.chars().count(), TITLE + 3);
    }

    #[test]
    fn the_scale_holds_all_ratios_and_has_lines() {
        let scale = Scale::for_ratios([0.02, 30.0, f64::INFINITY].into_iter());
        assert_eq!(scale.x(0.02), LEFT);
        assert_eq!(scale.x(30.0), RIGHT);
        assert_eq!(scale.x(1e9), RIGHT);
        let usual = Scale::for_ratios([1.0].into_iter()).ticks();
        assert_eq!(usual, [0.5, 1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn a_plot_is_whole_or_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("plot.svg");
        let plot = Plot::at(&path).expect("it can be written");
        assert!(!path.exists(), "not before it is measured");
        plot.write(&report("m")).expect("it is written");
        assert!(
            fs::read_to_string(&path)
                .expect("it is there")
                .ends_with("</svg>\n")
        );
        let files = fs::read_dir(directory.path()).expect("it is there").count();
        assert_eq!(files, 1, "nothing else is left");
        for wrong in [directory.path().to_owned(), path.join("below a file")] {
            assert!(Plot::at(&wrong).is_err(), "{wrong:?}");
        }
    }
}
