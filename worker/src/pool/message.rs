//! What a worker and its converter tell each other: one line of text a message.
//!
//! A worker believes nothing that a converter says before it is checked: the converter may be in the hands of the last picture.

use std::{fmt, str::FromStr, time::Duration};

use tintype_store::{ConversionLimits, Failure, FailureReason, ImageHeader, ImageLimits, Picture, Spec, Thumbhash};

/// Characters of a failure's message.
const MAX_FAILURE_CHARACTERS: usize = 200;

/// What holds a converter, besides being a process of its own with limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Containment {
    /// The kernel keeps it from files and the network.
    pub landlock: bool,
    /// The kernel lets it make only the few calls that a conversion needs.
    pub seccomp: bool,
}

impl Containment {
    /// Everything there is.
    pub const FULL: Self = Self { landlock: true, seccomp: true };

    fn named(name: &str) -> Result<Self, Nonsense> {
        let all = [(false, false), (false, true), (true, false), (true, true)].map(|(landlock, seccomp)| Self { landlock, seccomp });
        all.into_iter().find(|one| one.to_string() == name).ok_or(Nonsense)
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("process")?;
        f.write_str(if self.landlock { "+landlock" } else { "" })?;
        f.write_str(if self.seccomp { "+seccomp" } else { "" })
    }
}

/// A message that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense;

/// The first message to a converter: what it may take from now on.
pub(super) struct Terms(pub(super) ConversionLimits);

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConversionLimits { image, timeout, memory_bytes, max_attempts } = &self.0;
        let ImageLimits { max_file_bytes, max_side_pixels, max_frame_pixels, max_total_pixels, max_frames } = image;
        write!(f, "{max_file_bytes} {max_side_pixels} {max_frame_pixels} {max_total_pixels} {max_frames} ")?;
        write!(f, "{} {memory_bytes} {max_attempts}", timeout.as_millis())
    }
}

impl FromStr for Terms {
    type Err = Nonsense;

    fn from_str(text: &str) -> Result<Self, Nonsense> {
        let mut words = Words(text);
        let image = ImageLimits {
            max_file_bytes: words.parsed()?,
            max_side_pixels: words.parsed()?,
            max_frame_pixels: words.parsed()?,
            max_total_pixels: words.parsed()?,
            max_frames: words.parsed()?,
        };
        let timeout = Duration::from_millis(words.parsed()?);
        Ok(Self(ConversionLimits { image, timeout, memory_bytes: words.parsed()?, max_attempts: words.parsed()? }))
    }
}

/// What to make; the original and the place for the result come with it as descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// Which one it is of its converter, so that an answer that comes late is taken for no other's.
    pub(super) number: u32,
    pub(super) header: ImageHeader,
    pub(super) spec: Spec,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageHeader { format, width, height, frame_count } = self.header;
        write!(f, "{} {format} {width} {height} {frame_count} {}", self.number, self.spec)
    }
}

impl FromStr for Request {
    type Err = Nonsense;

    fn from_str(text: &str) -> Result<Self, Nonsense> {
        let mut words = Words(text);
        let number = words.parsed()?;
        let header = ImageHeader { format: words.parsed()?, width: words.parsed()?, height: words.parsed()?, frame_count: words.parsed()? };
        Ok(Self { number, header, spec: words.0.parse().map_err(|_| Nonsense)? })
    }
}

/// What a converter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has shut itself in and waits for requests.
    Ready(Containment),
    /// The result is in its place.
    Made {
        /// The number of the request.
        number: u32,
        /// Size of the result.
        size_bytes: u64,
        /// What is in it.
        picture: Picture,
        /// What the original looks like.
        thumbhash: Thumbhash,
    },
    /// There is no result.
    Refused {
        /// The number of the request.
        number: u32,
        /// Why.
        failure: Failure,
    },
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(containment) => write!(f, "ready {containment}"),
            Self::Made { number, size_bytes, picture: Picture { width, height, frame_count, first_frame_only }, thumbhash } => {
                write!(f, "made {number} {size_bytes} {width} {height} {frame_count} {first_frame_only} {thumbhash}")
            }
            Self::Refused { number, failure: Failure { reason, message } } => write!(f, "refused {number} {} {message}", reason.name()),
        }
    }
}

impl FromStr for Answer {
    type Err = Nonsense;

    fn from_str(text: &str) -> Result<Self, Nonsense> {
        let mut words = Words(text);
        match words.next()? {
            "ready" => Ok(Self::Ready(Containment::named(words.next()?)?)),
            "made" => {
                let (number, size_bytes) = (words.parsed()?, words.parsed()?);
                let (width, height, frame_count) = (words.parsed()?, words.parsed()?, words.parsed()?);
                let picture = Picture { width, height, frame_count, first_frame_only: words.parsed()? };
                Ok(Self::Made { number, size_bytes, picture, thumbhash: words.parsed()? })
            }
            "refused" => {
                let number = words.parsed()?;
                let word = words.next()?;
                let reason = REASONS.into_iter().find(|reason| reason.name() == word).ok_or(Nonsense)?;
                let failure = Failure { reason, message: words.0.to_owned() };
                if failure != readable(&failure) {
                    return Err(Nonsense);
                }
                Ok(Self::Refused { number, failure })
            }
            _ => Err(Nonsense),
        }
    }
}

/// The failure with a message for one line of a log or a terminal.
pub(super) fn readable(failure: &Failure) -> Failure {
    let one_line = failure.message.chars().map(|character| if character.is_control() { ' ' } else { character });
    Failure { reason: failure.reason, message: one_line.take(MAX_FAILURE_CHARACTERS).collect() }
}

/// What a converter may say of an image; the other reasons are not its to give.
const REASONS: [FailureReason; 4] =
    [FailureReason::CorruptInput, FailureReason::UnsupportedInput, FailureReason::UnsupportedOutput, FailureReason::ResourceLimit];

/// Words up to the next space; what is left of the text stays.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, Nonsense> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty()).ok_or(Nonsense)
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T, Nonsense> {
        self.next()?.parse().map_err(|_| Nonsense)
    }
}

#[cfg(test)]
mod tests {
    use tintype_store::Format;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let terms = Terms(ConversionLimits { timeout: Duration::from_millis(1_500), memory_bytes: 77, ..ConversionLimits::default() });
        assert_eq!(terms.to_string().parse::<Terms>().map(|read| read.0), Ok(terms.0));
        let header = ImageHeader { format: Format::Gif, width: 3, height: 4, frame_count: 5 };
        let spec: Spec = "jpeg quality=70 width=320 fit=cover background=102030".parse().expect("it is a spec");
        let request = Request { number: 8, header, spec };
        assert_eq!(request.to_string().parse(), Ok(request));
        let picture = Picture { width: 1, height: 2, frame_count: 3, first_frame_only: true };
        let thumbhash = Thumbhash::new(&[0, 0xff, 3, 4, 5]).expect("it is long enough");
        let failure = Failure { reason: FailureReason::CorruptInput, message: "the image is damaged: it ends".to_owned() };
        for answer in [
            Answer::Ready(Containment::FULL),
            Answer::Made { number: 7, size_bytes: 9, picture, thumbhash },
            Answer::Refused { number: 6, failure },
        ] {
            assert_eq!(answer.to_string().parse(), Ok(answer));
        }
    }

    #[test]
    fn whatever_else_a_converter_says_is_nonsense() {
        let long = format!("refused 7 CORRUPT_INPUT {}", "x".repeat(MAX_FAILURE_CHARACTERS + 1));
        let nothing = [
            "",
            " ",
            "made",
            "made 7 1 2 3",
            "made 7 -1 2 3 1 false 00ff030405",
            "made 7 99999999999999999999 2 3 1 false 00ff030405",
            "made 7 1 2 3 1 maybe 00ff030405",
            "made 7 1 2 3 1 true",
            "made 7 1 2 3 1 true 00ff0304",
            "made 7 1 2 3 1 true 000102030405060708090a0b0c0d0e0f10111213141516171819",
            "refused",
            "refused 7 ORIGINAL_DAMAGED it was not me",
            "refused 7 CORRUPT_INPUT two\nlines",
            "refused 7 CORRUPT_INPUT \u{1b}[2J",
            "refused CORRUPT_INPUT no number",
            "ready",
            "ready process+seccomp+landlock",
            "ready none",
            &long,
        ];
        for text in nothing {
            assert_eq!(text.parse::<Answer>(), Err(Nonsense), "{text:?}");
        }
    }
}
