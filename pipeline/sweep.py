from hydra.experimental.callback import Callback
class Comparison(Callback):
    pass
