"""One spark-submit-able script per verb; imported by nothing."""
