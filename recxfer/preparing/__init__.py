"""Making datasets: raw logs in, Parquet tables out."""
