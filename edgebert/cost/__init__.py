"""What a student will cost on a device: the analytic model, its calibration, published points."""
