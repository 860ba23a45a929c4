"""What `segkd prepare` finds out about a folder as it was downloaded, and what it draws from annotations."""
