//! `docs/claims/`: a page for each claim, made of the claim and of what was last measured for the pages.
