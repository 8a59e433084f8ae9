//! libwebp's encoder behind a safe function.
#![expect(unsafe_code, reason = "libwebp is written in C; this file is the only one that calls it")]

use std::slice;

use libwebp_sys::{
    WebPConfig, WebPConfigLosslessPreset, WebPEncode, WebPEncodingError, WebPMemoryWrite, WebPMemoryWriter, WebPMemoryWriterClear,
    WebPMemoryWriterInit, WebPPicture, WebPPictureFree, WebPPictureImportRGB, WebPPictureImportRGBA, WebPValidateConfig,
};
use tintype_store::{Effort, Spec};

use super::super::ConvertError;

/// Tightly packed samples of 8 bit.
pub(super) struct Pixels<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples: &'a [u8],
    /// RGBA, else RGB.
    pub(super) has_alpha: bool,
}

/// One whole WebP file. It is made by one thread, so that the same pixels give the same bytes.
pub(super) fn encode(pixels: &Pixels<'_>, spec: &Spec) -> Result<Vec<u8>, ConvertError> {
    let channels = if pixels.has_alpha { 4 } else { 3 };
    let row_bytes = pixels.width as usize * channels;
    assert_eq!(pixels.samples.len(), row_bytes * pixels.height as usize, "libwebp reads as many samples as the size says");
    let config = config(spec)?;
    let mut job = Job::new()?;
    job.picture.use_argb = config.lossless;
    job.picture.width = pixels.width as i32;
    job.picture.height = pixels.height as i32;
    let import = if pixels.has_alpha { WebPPictureImportRGBA } else { WebPPictureImportRGB };
    // SAFETY: the picture is initialised, and the samples are as many as its size and the row's length say.
    let imported = unsafe { import(&raw mut job.picture, pixels.samples.as_ptr(), row_bytes as i32) };
    job.picture.writer = Some(WebPMemoryWrite);
    job.picture.custom_ptr = (&raw mut *job.written).cast();
    // SAFETY: picture, configuration and writer are initialised and outlive the call; nobody else holds them.
    if imported == 0 || unsafe { WebPEncode(&raw const config, &raw mut job.picture) } == 0 {
        return Err(refusal(job.picture.error_code));
    }
    // SAFETY: the writer holds that many bytes until it is cleared, which happens when `job` is dropped.
    Ok(unsafe { slice::from_raw_parts(job.written.mem, job.written.size) }.to_vec())
}

/// Why libwebp makes no file.
fn refusal(code: WebPEncodingError) -> ConvertError {
    match code {
        WebPEncodingError::VP8_ENC_ERROR_OUT_OF_MEMORY | WebPEncodingError::VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY => {
            ConvertError::resource_limit("writing WebP needs more memory than a conversion may have (conversion_memory_bytes)")
        }
        other => ConvertError::encoding(format_args!("libwebp says {other:?}")),
    }
}

/// Methods beyond these cost several times as much for a few per cent.
fn config(spec: &Spec) -> Result<WebPConfig, ConvertError> {
    let invalid = |()| ConvertError::encoding("libwebp does not take its configuration");
    let mut config = WebPConfig::new().map_err(invalid)?;
    if spec.lossless {
        let level = match spec.effort {
            Effort::Fast => 0,
            Effort::Balanced => 3,
            Effort::Small => 7,
        };
        // SAFETY: the configuration is initialised.
        if unsafe { WebPConfigLosslessPreset(&raw mut config, level) } == 0 {
            return Err(invalid(()));
        }
        // Colours behind full transparency are part of the picture where nothing may get lost.
        config.exact = 1;
    } else {
        config.quality = f32::from(spec.quality());
        config.method = match spec.effort {
            Effort::Fast => 1,
            Effort::Balanced => 2,
            Effort::Small => 6,
        };
    }
    // SAFETY: the configuration is initialised.
    if unsafe { WebPValidateConfig(&raw const config) } == 0 { Err(invalid(())) } else { Ok(config) }
}

/// What libwebp allocates, until it is dropped.
struct Job {
    picture: WebPPicture,
    /// In a box, because the picture points to it.
    written: Box<WebPMemoryWriter>,
}

impl Job {
    fn new() -> Result<Self, ConvertError> {
        let picture = WebPPicture::new().map_err(|()| ConvertError::encoding("libwebp is of another version than its header"))?;
        let mut written = Box::new(WebPMemoryWriter { mem: std::ptr::null_mut(), size: 0, max_size: 0, pad: [0] });
        // SAFETY: it is a writer that nobody else knows yet.
        unsafe { WebPMemoryWriterInit(&raw mut *written) };
        Ok(Self { picture, written })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: both are initialised, and nothing points into them any more.
        unsafe {
            WebPPictureFree(&raw mut self.picture);
            WebPMemoryWriterClear(&raw mut *self.written);
        }
    }
}

#[cfg(test)]
mod tests {
    use tintype_store::FailureReason;

    use super::*;

    #[test]
    fn memory_that_libwebp_does_not_get_is_a_limit_and_no_fault_of_the_format() {
        for code in [WebPEncodingError::VP8_ENC_ERROR_OUT_OF_MEMORY, WebPEncodingError::VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY] {
            let error = refusal(code);
            assert_eq!(error.reason, FailureReason::ResourceLimit, "{error}");
            assert!(error.message.contains("conversion_memory_bytes"), "{error}");
        }
        assert_eq!(refusal(WebPEncodingError::VP8_ENC_ERROR_PARTITION0_OVERFLOW).reason, FailureReason::UnsupportedOutput);
    }
}
