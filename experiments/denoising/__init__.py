"""Output of the denoiser: tables, cleaned label files, the gallery, and a comparison of detectors."""
