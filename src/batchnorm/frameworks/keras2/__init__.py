"""What is known of Keras 2: tf_keras, the tf.keras of TensorFlow."""
