"""torchrun that ends with the process that started it: without this, `kill -9` of a run would leave its ranks training."""

from pretrain.process import end_with_parent


def main() -> None:
    """Same arguments as torchrun."""
    end_with_parent()
    from torch.distributed.run import main as torchrun

    torchrun()


if __name__ == "__main__":
    main()
