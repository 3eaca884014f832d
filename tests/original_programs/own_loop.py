"""A training loop of somebody's own, written with what the original's loop is written with."""

import os

import tensorflow.compat.v1 as tf

import dnnlib
import dnnlib.tflib as tflib
from dnnlib.tflib.autosummary import autosummary
from training import dataset, misc
from training.training_loop import process_reals, training_schedule


def training_loop(submit_config, G_args, D_args, G_loss_args, D_loss_args, dataset_args, sched_args, total_kimg,
                  G_smoothing_kimg=10.0):
    opt_args = dnnlib.EasyDict(beta1=0.0, beta2=0.99, epsilon=1e-8)
    ctx = dnnlib.RunContext(submit_config)
    tflib.init_tf()
    training_set = dataset.load_dataset(verbose=True, **dataset_args)

    with tf.device('/gpu:0'):
        G = tflib.Network('G', num_channels=training_set.shape[0], resolution=training_set.shape[1],
                          label_size=training_set.label_size, **G_args)
        D = tflib.Network('D', num_channels=training_set.shape[0], resolution=training_set.shape[1],
                          label_size=training_set.label_size, **D_args)
        Gs = G.clone('Gs')
    G.print_layers()
    D.print_layers()

    with tf.name_scope('Inputs'), tf.device('/cpu:0'):
        lod_in = tf.placeholder(tf.float32, name='lod_in', shape=[])
        lrate_in = tf.placeholder(tf.float32, name='lrate_in', shape=[])
        minibatch_in = tf.placeholder(tf.int32, name='minibatch_in', shape=[])
        minibatch_split = minibatch_in // submit_config.num_gpus
        Gs_beta = 0.5 ** tf.div(tf.cast(minibatch_in, tf.float32), G_smoothing_kimg * 1000.0)

    G_opt = tflib.Optimizer(name='TrainG', learning_rate=lrate_in, **opt_args)
    D_opt = tflib.Optimizer(name='TrainD', learning_rate=lrate_in, **opt_args)
    for gpu in range(submit_config.num_gpus):
        with tf.name_scope('GPU%d' % gpu), tf.device('/gpu:%d' % gpu):
            G_gpu = G if gpu == 0 else G.clone(G.name + '_shadow')
            D_gpu = D if gpu == 0 else D.clone(D.name + '_shadow')
            lod_assign_ops = [tf.assign(G_gpu.find_var('lod'), lod_in), tf.assign(D_gpu.find_var('lod'), lod_in)]
            reals, labels = training_set.get_minibatch_tf()
            reals = process_reals(reals, lod_in, True, training_set.dynamic_range, [-1, 1])
            with tf.name_scope('G_loss'), tf.control_dependencies(lod_assign_ops):
                G_loss = dnnlib.util.call_func_by_name(
                    G=G_gpu, D=D_gpu, opt=G_opt, training_set=training_set, minibatch_size=minibatch_split,
                    **G_loss_args)
            with tf.name_scope('D_loss'), tf.control_dependencies(lod_assign_ops):
                D_loss = dnnlib.util.call_func_by_name(
                    G=G_gpu, D=D_gpu, opt=D_opt, training_set=training_set, minibatch_size=minibatch_split,
                    reals=reals, labels=labels, **D_loss_args)
            D_loss = autosummary('Loss/D', D_loss)
            G_opt.register_gradients(tf.reduce_mean(G_loss), G_gpu.trainables)
            D_opt.register_gradients(tf.reduce_mean(D_loss), D_gpu.trainables)
    G_train_op = G_opt.apply_updates()
    D_train_op = D_opt.apply_updates()
    Gs_update_op = Gs.setup_as_moving_average_of(G, beta=Gs_beta)

    grid_size, grid_reals, grid_labels, grid_latents = misc.setup_snapshot_image_grid(G, training_set, size='1080p')
    sched = training_schedule(cur_nimg=total_kimg * 1000, training_set=training_set,
                              num_gpus=submit_config.num_gpus, **sched_args)
    grid_fakes = Gs.run(grid_latents, grid_labels, is_validation=True, minibatch_size=sched.minibatch)
    misc.save_image_grid(grid_reals, os.path.join(submit_config.run_dir, 'reals.png'),
                         drange=training_set.dynamic_range, grid_size=grid_size)
    misc.save_image_grid(grid_fakes, os.path.join(submit_config.run_dir, 'fakes.png'), drange=[-1, 1],
                         grid_size=grid_size)
    summary_log = tf.summary.FileWriter(submit_config.run_dir)
    summary_log.add_graph(tf.get_default_graph())
    G.setup_weight_histograms()

    cur_nimg, prev_lod = 0, -1.0
    while cur_nimg < total_kimg * 1000 and not ctx.should_stop():
        sched = training_schedule(cur_nimg=cur_nimg, training_set=training_set, num_gpus=submit_config.num_gpus,
                                  **sched_args)
        training_set.configure(sched.minibatch // submit_config.num_gpus, sched.lod)
        if int(sched.lod) != int(prev_lod):
            G_opt.reset_optimizer_state()
            D_opt.reset_optimizer_state()
        prev_lod = sched.lod
        tflib.run([D_train_op, Gs_update_op],
                  {lod_in: sched.lod, lrate_in: sched.D_lrate, minibatch_in: sched.minibatch})
        cur_nimg += sched.minibatch
        tflib.run([G_train_op], {lod_in: sched.lod, lrate_in: sched.G_lrate, minibatch_in: sched.minibatch})
        autosummary('Progress/kimg', cur_nimg / 1000.0)
        tflib.autosummary.save_summaries(summary_log, cur_nimg)
        ctx.update('%.2f' % sched.lod, cur_nimg // 1000, total_kimg)

    misc.save_pkl((G, D, Gs), os.path.join(submit_config.run_dir, 'network-final.pkl'))
    summary_log.close()
    ctx.close()
