"""What is promised, proved on a machine: checks, and what runs them."""
