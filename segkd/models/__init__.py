"""Image to `Prediction`: encoders, the fusion decoder, any other network behind the same face."""
