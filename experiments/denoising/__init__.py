"""What the denoiser writes: tables, cleaned label files, a gallery, a comparison of detectors."""
