//! One picture out of AV1 data. The decoder is Rust, but offers its functions in the form of C alone.
#![expect(unsafe_code, reason = "the decoder's functions take pointers; what they may point to is said at each call")]

use std::{mem::MaybeUninit, ptr::NonNull, slice};

use rav1d::{
    Dav1dResult,
    include::dav1d::{
        data::Dav1dData,
        dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings},
        headers::{DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422, Dav1dSequenceHeader},
        picture::Dav1dPicture,
    },
    src::lib::{
        dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture, dav1d_open,
        dav1d_parse_sequence_header, dav1d_picture_unref, dav1d_send_data,
    },
};
use tintype_store::header::Cicp;

use super::ConvertError;

/// Planes of samples. The context lives as long as the picture, whose memory is from its pool.
pub(super) struct Frame {
    picture: Picture,
    _context: Context,
}

struct Context(Option<Dav1dContext>);
struct Picture(Dav1dPicture);
struct Data(Dav1dData);

/// How the chroma planes are kept: for each pixel, or shared by two, across or across and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Grey,
    Full,
    SharedAcross,
    SharedBothWays,
}

impl Frame {
    /// Refuses pictures of another size than this one before any pixels are decoded, or memory is taken for them.
    pub(super) fn decode(obus: &[u8], width: u32, height: u32) -> Result<Self, ConvertError> {
        if obus.is_empty() {
            return Err(ConvertError::corrupt("its AV1 data is empty"));
        }
        check_sequence(obus, width, height)?;
        let context = Context::open(width, height)?;
        let mut data = Data::copy_of(obus)?;
        let mut picture = Picture(Dav1dPicture::default());
        // SAFETY: the context is open, and both pointers are to what they say, valid for reading and writing.
        check(unsafe { dav1d_send_data(context.0, Some(NonNull::from(&mut data.0))) })?;
        // SAFETY: as above. What is overwritten is a picture of nothing.
        check(unsafe { dav1d_get_picture(context.0, Some(NonNull::from(&mut picture.0))) })?;
        let frame = Self { picture, _context: context };
        let (has_width, has_height) = (frame.picture.0.p.w, frame.picture.0.p.h);
        if (i64::from(has_width), i64::from(has_height)) != (i64::from(width), i64::from(height)) {
            return Err(ConvertError::corrupt(format_args!(
                "its AV1 data is of {has_width} x {has_height} pixels, its header says {width} x {height}"
            )));
        }
        Ok(frame)
    }

    pub(super) fn width(&self) -> usize {
        self.picture.0.p.w as usize
    }

    pub(super) fn height(&self) -> usize {
        self.picture.0.p.h as usize
    }

    /// 8, 10 or 12.
    pub(super) fn bits(&self) -> u32 {
        self.picture.0.p.bpc as u32
    }

    pub(super) fn layout(&self) -> Layout {
        match self.picture.0.p.layout {
            DAV1D_PIXEL_LAYOUT_I400 => Layout::Grey,
            DAV1D_PIXEL_LAYOUT_I420 => Layout::SharedBothWays,
            DAV1D_PIXEL_LAYOUT_I422 => Layout::SharedAcross,
            _ => Layout::Full,
        }
    }

    /// What the AV1 data itself says of its colours.
    pub(super) fn cicp(&self) -> Cicp {
        let header = self.picture.0.seq_hdr.expect("a picture that was given out has its sequence header");
        // SAFETY: the picture keeps its sequence header, which nobody writes to any more, for as long as it lives.
        let header = unsafe { header.as_ref() };
        Cicp {
            primaries: header.pri as u16,
            transfer: header.trc as u16,
            matrix: header.mtrx as u16,
            is_full_range: header.color_range != 0,
        }
    }

    /// The samples of a row: plane 0 is luma, 1 and 2 are chroma.
    pub(super) fn read_row(&self, plane: usize, row: usize, into: &mut Vec<u16>) {
        let (width, height) = match (plane, self.layout()) {
            (0, _) | (_, Layout::Full) => (self.width(), self.height()),
            (_, Layout::SharedAcross) => (self.width().div_ceil(2), self.height()),
            (_, Layout::SharedBothWays) => (self.width().div_ceil(2), self.height().div_ceil(2)),
            (_, Layout::Grey) => (0, 0),
        };
        assert!(row < height, "row {row} is beyond the {height} of plane {plane}");
        let start = self.picture.0.data[plane].expect("a picture has the planes of its layout");
        let stride_bytes = self.picture.0.stride[usize::from(plane > 0)];
        into.clear();
        // SAFETY: the plane has `height` rows, of which each begins a stride behind the one before and holds `width` samples, and nobody
        // writes to a picture that was given out. Samples of more than 8 bit are two bytes that are aligned as such.
        unsafe {
            let start = start.as_ptr().byte_offset(stride_bytes * row as isize);
            if self.bits() == 8 {
                into.extend(slice::from_raw_parts(start.cast::<u8>(), width).iter().map(|sample| u16::from(*sample)));
            } else {
                into.extend_from_slice(slice::from_raw_parts(start.cast::<u16>(), width));
            }
        }
    }
}

impl Context {
    fn open(width: u32, height: u32) -> Result<Self, ConvertError> {
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: the function writes all of the settings and reads none.
        let mut settings = unsafe {
            dav1d_default_settings(NonNull::from(&mut settings).cast());
            settings.assume_init()
        };
        // One is the thread that calls; a converter can start no other.
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        settings.all_layers = 0;
        settings.frame_size_limit = width.saturating_mul(height);
        // SAFETY: there is no function that could be called wrongly.
        settings.logger = unsafe { Dav1dLogger::new(None, None) };
        let mut context = None;
        // SAFETY: both pointers are to what they say.
        check(unsafe { dav1d_open(Some(NonNull::from(&mut context)), Some(NonNull::from(&mut settings))) })?;
        Ok(Self(context))
    }
}

impl Data {
    fn copy_of(obus: &[u8]) -> Result<Self, ConvertError> {
        let mut data = Self(Dav1dData::default());
        // SAFETY: the pointer is to data of nothing, which may be overwritten.
        let start = unsafe { dav1d_data_create(Some(NonNull::from(&mut data.0)), obus.len()) };
        if start.is_null() {
            return Err(ConvertError::resource_limit("there is no memory for the picture's data"));
        }
        // SAFETY: what was created has this many bytes, which nobody else knows of yet.
        unsafe { start.copy_from_nonoverlapping(obus.as_ptr(), obus.len()) };
        Ok(data)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context is open, and nothing uses it after this.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) };
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: it is a picture that was given out, or one of nothing, and nothing uses it after this.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.0))) };
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: it is data that was created, or data of nothing after the decoder took it.
        unsafe { dav1d_data_unref(Some(NonNull::from(&mut self.0))) };
    }
}

/// The decoder itself takes a sequence header for granted where it decodes, and ends the process where there is none.
fn check_sequence(obus: &[u8], width: u32, height: u32) -> Result<(), ConvertError> {
    let mut header = MaybeUninit::<Dav1dSequenceHeader>::uninit();
    // SAFETY: the first pointer may be written to, and the second is to that many bytes, which are read and no more.
    let parsed =
        unsafe { dav1d_parse_sequence_header(Some(NonNull::from(&mut header).cast()), Some(NonNull::from(obus).cast()), obus.len()) };
    check(parsed)?;
    // SAFETY: it was written, because there was no error.
    let header = unsafe { header.assume_init() };
    if i64::from(header.max_width) > i64::from(width) || i64::from(header.max_height) > i64::from(height) {
        return Err(ConvertError::corrupt("its AV1 data is of a larger picture than its header says"));
    }
    Ok(())
}

fn check(result: Dav1dResult) -> Result<(), ConvertError> {
    match -result.0 {
        0 => Ok(()),
        libc::ENOMEM => Err(ConvertError::resource_limit("decoding needs more memory than allowed")),
        libc::ERANGE => Err(ConvertError::corrupt("its AV1 data is of a larger picture than its header says")),
        libc::EAGAIN => Err(ConvertError::corrupt("its AV1 data holds no whole picture")),
        _ => Err(ConvertError::corrupt("its AV1 data cannot be decoded")),
    }
}
