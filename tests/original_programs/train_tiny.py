"""A training script as people write them after the original's: settings in EasyDicts, and one call of `submit_run`."""

import copy

import config
import dnnlib
from dnnlib import EasyDict
from metrics import metric_base

desc = 'sgan'
train = EasyDict(run_func_name='training.training_loop.training_loop')
G = EasyDict(func_name='training.networks_stylegan.G_style')
D = EasyDict(func_name='training.networks_stylegan.D_basic')
G_opt = EasyDict(beta1=0.0, beta2=0.99, epsilon=1e-8)
D_opt = EasyDict(beta1=0.0, beta2=0.99, epsilon=1e-8)
G_loss = EasyDict(func_name='training.loss.G_logistic_nonsaturating')
D_loss = EasyDict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0)
sched = EasyDict()
grid = EasyDict(size='1080p', layout='random')
metrics = [metric_base.dummy]
submit_config = dnnlib.SubmitConfig()
tf_config = {'rnd.np_random_seed': 1000}

desc += '-tiny'
dataset = EasyDict(tfrecord_dir='tiny', resolution=4, num_threads=2)
train.mirror_augment = True

desc += '-1gpu'
submit_config.num_gpus = 1
sched.minibatch_base = 4
sched.minibatch_dict = {4: 4, 8: 4}

# A network so small that a test can afford to train it.
small = dict(fmap_base=32, fmap_max=4, structure='fixed')
G.update(small, latent_size=4, dlatent_size=4, mapping_fmaps=4, mapping_layers=1)
D.update(small)
tf_config['graph_options.rewrite_options.disable_meta_optimizer'] = True
grid.size = '4x2'

train.total_kimg = 0.032
train.save_tf_graph = True
train.save_weight_histograms = True
sched.lod_initial_resolution = 4
sched.G_lrate_dict = {4: 0.002}
sched.D_lrate_dict = EasyDict(sched.G_lrate_dict)
sched.tick_kimg_base = 0.016
sched.tick_kimg_dict = {}


def main():
    kwargs = EasyDict(train)
    kwargs.update(G_args=G, D_args=D, G_opt_args=G_opt, D_opt_args=D_opt, G_loss_args=G_loss, D_loss_args=D_loss)
    kwargs.update(dataset_args=dataset, sched_args=sched, grid_args=grid, metric_arg_list=metrics, tf_config=tf_config)
    kwargs.submit_config = copy.deepcopy(submit_config)
    kwargs.submit_config.run_dir_root = dnnlib.submission.submit.get_template_from_path(config.result_dir)
    kwargs.submit_config.run_dir_ignore += config.run_dir_ignore
    kwargs.submit_config.run_desc = desc
    dnnlib.submit_run(**kwargs)


if __name__ == '__main__':
    main()
