use super::*;

#[test]
fn the_discriminant_is_the_place_in_all() {
    for (index, loss) in Loss::ALL.iter().enumerate() {
        assert_eq!(*loss as usize, index, "{}", loss.name());
    }
}

/// A report is not to be trusted blindly when something is missing from it, and nobody is to be alarmed by what was made good.
#[test]
fn what_the_kernels_accounting_makes_good_leaves_no_gap() {
    let repaired = [Loss::SwitchInUnseen, Loss::MigrationUnseen, Loss::FreeUnseen, Loss::SwitchChainBroken];
    for loss in Loss::ALL {
        let expected = match loss {
            // The totals are in the cells, which outlive the thread's record.
            Loss::ThreadDetailEvicted => Harm::Details,
            _ if repaired.contains(&loss) => Harm::Repaired,
            _ => Harm::Missing,
        };
        assert_eq!(loss.harm(), expected, "{}", loss.name());
    }
}
